"""Chat templates render as in transformers, and run in a sandbox."""

import os
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import tokenizers
from tokenizers import models
from transformers import PreTrainedTokenizerFast

from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.chat_template import chat_text
from gpt_lightning.tokenizers.config import TokenizerConfig

MESSAGES = [
    {"role": "system", "content": "Be <kind>."},
    {"role": "user", "content": " Hello! "},
    {"role": "assistant", "content": "Well,  "},
]
TEMPLATES = {
    "plain": "{% for m in messages %}{{ bos_token }}{{ m['role'] }}: {{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}",
    "stripping": "{%- for m in messages %}\n  [{{ m.role }}]{{ m.content | trim }}\n{%- endfor %}\n",
    "blocks": "{% for m in messages %}\n    {% if loop.index == 9 %}\n{% break %}{% endif %}"
    "{{ {'é': m.content} | tojson }}\n{% endfor %}",
    "generation": "{% for m in messages %}{%- generation -%} {{ m.content }} {% endgeneration %}!{% endfor %}",
    "tools": "{% if tools or documents %}never{% endif %}{{ messages[-1].content }}",
}


def transformers_tokenizer(template: str) -> Any:
    inner = tokenizers.Tokenizer(models.BPE({"a": 0, "<s>": 1, "</s>": 2}, []))
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", chat_template=template)


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_transformers_renders_the_same_text(template: str, add_generation_prompt: bool) -> None:
    config = TokenizerConfig(bos_token="<s>", eos_token="</s>", chat_template=template)
    expected = transformers_tokenizer(template).apply_chat_template(
        MESSAGES,
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        continue_final_message=not add_generation_prompt,
    )
    assert chat_text(config, MESSAGES, add_generation_prompt=add_generation_prompt) == expected
    assert MESSAGES[-1]["content"] == "Well,  "


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "the tokenizer of the model has no chat template"),
        ("{{ raise_exception('roles must alternate') }}", "rejects these messages: roles must alternate"),
        ("{% for %}", "rejects these messages"),
        ("{{ messages.__class__.__mro__ }}", "rejects these messages: access to attribute '__class__'"),
        ("{{ messages.append(1) }}", "rejects these messages: access to attribute 'append'"),
        ("{{ messages[0].content }}", "omits the last message"),
    ],
)
def test_invalid_templates_are_refused(template: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        chat_text(TokenizerConfig(chat_template=template), MESSAGES, add_generation_prompt=False)
