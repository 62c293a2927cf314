"""Chats as Hugging Face writes them, in a sandbox."""

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

SAID = [
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


def theirs(template: str) -> Any:
    inner = tokenizers.Tokenizer(models.BPE({"a": 0, "<s>": 1, "</s>": 2}, []))
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", chat_template=template)


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("answer", [True, False])
def test_hugging_face_writes_the_same(template: str, answer: bool) -> None:
    config = TokenizerConfig(bos_token="<s>", eos_token="</s>", chat_template=template)
    expected = theirs(template).apply_chat_template(
        SAID, tokenize=False, add_generation_prompt=answer, continue_final_message=not answer
    )
    assert chat_text(config, SAID, answer=answer) == expected
    assert SAID[-1]["content"] == "Well,  "


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "the model's tokenizer has no chat template"),
        ("{{ raise_exception('roles must alternate') }}", "does not take these messages: roles must alternate"),
        ("{% for %}", "does not take these messages"),
        ("{{ messages.__class__.__mro__ }}", "does not take these messages: access to attribute '__class__'"),
        ("{{ messages.append(1) }}", "does not take these messages: access to attribute 'append'"),
        ("{{ messages[0].content }}", "leaves out the last message"),
    ],
)
def test_what_cannot_be_written(template: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        chat_text(TokenizerConfig(chat_template=template), SAID, answer=False)
