"""Built-in chat templates, and tokenizers with a chat template and the special tokens that it needs."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from gpt_lightning.bounded_files import read_text
from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home
from gpt_lightning.sandbox.templates import RenderError, render_all
from gpt_lightning.tokenizers.chat_template import template_variables, without_generation_tags
from gpt_lightning.tokenizers.config import MAX_TEMPLATE_BYTES, TokenizerConfig
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.tokenizers.tokenizer import Tokenizer

_CHATML: Final = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_CHATML_TOKENS: Final = ("<|im_start|>", "<|im_end|>")
_PLAIN: Final = (
    "{% for message in messages %}{{ message['content'] }}{% if message['role'] == 'assistant' %}{{ END }}"
    "{% else %}{{ '\\n' }}{% endif %}{% endfor %}"
)
_MARKER: Final = re.compile(r"<\|\w+\|>")
_PROBE: Final = ({"role": "user", "content": "Question."}, {"role": "assistant", "content": "Answer."})


def chat_tokenizer(tokenizer: Tokenizer, template: str | None) -> Tokenizer:
    """Return a tokenizer with a chat template. The template's end-of-turn token also ends generation.

    Args:
        tokenizer: tokenizer of the model.
        template: ``chatml``, ``plain``, a file, or the text of a template. None keeps the template of the tokenizer;
            a tokenizer without one gets ``chatml``.

    Raises:
        InputError: the file is missing or unreadable.
    """
    if template is None and tokenizer.config.chat_template is None:
        template = "chatml"
    if template is not None:
        tokenizer = _with_template(tokenizer, template)
    end = _end_of_turn(tokenizer)
    if end is None or end in tokenizer.end_ids:
        return tokenizer
    ids = [*sorted(tokenizer.end_ids), end]
    return tokenizer.with_special_tokens((), tokenizer.config, {**tokenizer.generation_config, "eos_token_id": ids})


def _with_template(tokenizer: Tokenizer, template: str) -> Tokenizer:
    """Return the tokenizer with the template that the user chose."""
    end = tokenizer.token(tokenizer.end_of_text_id)
    tokens: tuple[str, ...] = ()
    if template == "chatml":
        text, tokens = _begin(tokenizer) + _CHATML, _CHATML_TOKENS
    elif template == "plain":
        text = _begin(tokenizer) + _PLAIN.replace("END", json.dumps(end, ensure_ascii=False))
    else:
        text = _read(template)
        tokens = () if text == tokenizer.config.chat_template else _missing_tokens(tokenizer, text)
    config = replace(_name_end(tokenizer.config, end), chat_template=text)
    return tokenizer.with_special_tokens(tokens, config, tokenizer.generation_config)


def _missing_tokens(tokenizer: Tokenizer, template: str) -> tuple[str, ...]:
    """Return the markers of a template, such as <|user|>, that are no tokens of the tokenizer.

    As ordinary text, a message of the user could contain them, too.
    """
    system = {"role": "system", "content": "System."}
    variables = [
        template_variables(tokenizer.config, messages, add_generation_prompt=True)
        for messages in (_PROBE, (system, *_PROBE))
    ]
    rendered = render_all("chat", without_generation_tags(template), variables)
    texts = [each for each in rendered if isinstance(each, str)]
    found = dict.fromkeys(marker for text in texts for marker in _MARKER.findall(text))
    return tuple(marker for marker in found if tokenizer.token_id(marker, -1) == -1)


def _name_end(config: TokenizerConfig, end: str) -> TokenizerConfig:
    """Return a configuration that names the end-of-text token, so that added tokens do not take its place.

    In tokenizers of this package, that token also begins texts.
    """
    if config == TokenizerConfig():
        return replace(config, bos_token=end, eos_token=end)
    return config if config.eos_token == end else replace(config, eos_token=end)


def _begin(tokenizer: Tokenizer) -> str:
    """Return the start of a built-in template: the tokens that begin the model's texts."""
    end, prefix = tokenizer.token(tokenizer.end_of_text_id), InputLayout.published(tokenizer).prefix or []
    if not prefix and _name_end(tokenizer.config, end).bos_token == end:  # it separates the documents of pretraining
        prefix = [tokenizer.end_of_text_id]
    return "".join(f"{{{{ {json.dumps(tokenizer.token(index), ensure_ascii=False)} }}}}" for index in prefix)


def _read(template: str) -> str:
    if "{%" in template or "{{" in template:
        return template
    path = expand_home(template)
    if not path.is_file():
        raise InputError(
            f"--data.chat_template={template}: there is no such file. Choose chatml, plain, or a .jinja file"
        )
    return read_text(path, "Check the file", MAX_TEMPLATE_BYTES)


def _end_of_turn(tokenizer: Tokenizer) -> int | None:
    """Return the first special token after the text of an answer.

    None means that there is none, or that the template rejects a short chat or changes its texts.
    """
    assert tokenizer.config.chat_template is not None
    variables: list[Mapping[str, Any]] = [
        template_variables(tokenizer.config, _PROBE[:count], add_generation_prompt=count == 1) for count in (1, 2)
    ]
    prompt, full = render_all("chat", without_generation_tags(tokenizer.config.chat_template), variables)
    if isinstance(prompt, RenderError) or isinstance(full, RenderError) or not full.startswith(prompt):
        return None
    # A special token before the text, such as one that names its kind, does not end it.
    _, answer, rest = full[len(prompt) :].rpartition(_PROBE[1]["content"])
    if not answer:
        return None
    special = [token["content"] for token in tokenizer.state()["added_tokens"] if token["special"]]
    pattern = "|".join(map(re.escape, sorted(special, key=len, reverse=True)))
    found = re.search(pattern, rest)
    return None if found is None else tokenizer.special_id(found[0])
