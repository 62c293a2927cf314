"""Chat templates: a conversation as the text that its model was trained on."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.config import TokenizerConfig

_HERE: Final = "\ufffdso far\ufffd "
"""Stands where a last message is to be continued; its blank tells whether the template strips what is said."""
_GENERATION: Final = re.compile(r"(\{%[-+]?\s*)(end)?generation(\s*[-+]?%\})")
"""Marks what the model said, for training; to write the text it is nothing."""


def chat_text(config: TokenizerConfig, messages: Sequence[Mapping[str, str]], *, answer: bool) -> str:
    """The text of ``messages``, as the tokenizer's template writes it.

    Templates come with models of others: they run in Jinja's sandbox, where they reach the messages and nothing else.

    Args:
        config: of the tokenizer.
        messages: each its ``role`` and its ``content``.
        answer: end with what begins the model's answer; otherwise with the last message's own end, so that the model
            goes on in it.

    Raises:
        InputError: there is no template, or it does not take these messages.
    """
    if config.chat_template is None:
        raise InputError("the model's tokenizer has no chat template: it was not trained on chats")
    said = [dict(message) for message in messages]
    if not answer:
        said[-1]["content"] += _HERE
    special = {name: value for name, value in config.said().items() if name.endswith("_token")}
    try:
        text = _template(config.chat_template).render(
            messages=said, tools=None, documents=None, add_generation_prompt=answer, **special
        )
    except (jinja2.TemplateError, TypeError, KeyError, ValueError) as error:
        raise InputError(f"the model's chat template does not take these messages: {error}") from error
    if answer:
        return text
    before, here, _ = text.rpartition(_HERE.strip())
    if not here:
        raise InputError("the model's chat template leaves out the last message, which was to be continued")
    return before if _HERE in text else before.rstrip()


@cache
def _template(text: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _as_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(_GENERATION.sub(_if_true, text))


def _if_true(tag: re.Match[str]) -> str:
    return f"{tag[1]}{'endif' if tag[2] else 'if true'}{tag[3]}"


def _as_json(value: Any, **settings: Any) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **settings})


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
