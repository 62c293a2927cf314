"""Chat templates, which render a conversation as the text format of a model's training."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gpt_lightning.errors import InputError
from gpt_lightning.sandbox.templates import RenderError, render
from gpt_lightning.tokenizers.config import TokenizerConfig

_MARKER: Final = "\ufffdso far\ufffd "
"""Appended to the message that the model continues. Its trailing space shows whether the template strips messages."""
_GENERATION: Final = re.compile(r"(\{%[-+]?\s*)(end)?generation(\s*[-+]?%\})")
"""Tags around the assistant's text, which compute loss masks in training. Rendering does not need them."""


def chat_text(config: TokenizerConfig, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool) -> str:
    """Render ``messages`` with the chat template of a tokenizer.

    Templates of pretrained models are untrusted code. They run in Jinja's sandbox, in
    a process of its own with limits of time and memory, and can access only the messages.

    Args:
        config: configuration of the tokenizer.
        messages: mappings with ``role`` and ``content``.
        add_generation_prompt: True to end with the start of the model's answer; False to end inside the last message,
            so that the model continues it.

    Raises:
        InputError: the tokenizer has no chat template, or the template rejects these messages.
    """
    if config.chat_template is None:
        raise InputError(
            "the tokenizer of the model has no chat template. Use a chat model, or plain text without a chat template"
        )
    copies = [dict(message) for message in messages]
    if not add_generation_prompt:
        copies[-1]["content"] += _MARKER
    variables = template_variables(config, copies, add_generation_prompt=add_generation_prompt)
    try:
        text = render("chat", without_generation_tags(config.chat_template), variables)
    except RenderError as error:
        raise InputError(
            f"the chat template of the model rejects these messages: {error}. "
            "Change the messages, or use plain text without a chat template"
        ) from None
    if add_generation_prompt:
        return text
    before, marker, _ = text.rpartition(_MARKER.strip())
    if not marker:
        raise InputError(
            "the chat template of the model omits the last message, so the model cannot continue it; "
            "use plain text without a chat template"
        )
    return before if _MARKER in text else before.rstrip()


def template_variables(
    config: TokenizerConfig, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool
) -> dict[str, Any]:
    """Return the variables that a chat template may read, as transformers sets them."""
    special_tokens = {name: value for name, value in config.to_dict().items() if name.endswith("_token")}
    return {
        "messages": messages,
        "tools": None,
        "documents": None,
        "add_generation_prompt": add_generation_prompt,
        **special_tokens,
    }


def has_generation_tags(template: str) -> bool:
    """Return whether a template has tags around the text of the assistant."""
    return _GENERATION.search(template) is not None


def without_generation_tags(template: str) -> str:
    """Return a template with tags that have no effect in place of the generation tags."""
    return _GENERATION.sub(lambda tag: f"{tag[1]}{'endif' if tag[2] else 'if true'}{tag[3]}", template)


def mark_generation(template: str, start: str, end: str) -> str:
    """Return a template that writes ``start`` and ``end`` in place of the generation tags.

    The outer sides of the replacement treat the whitespace around them as the tags do.
    """

    def marks(tag: re.Match[str]) -> str:
        name, mark = ("endif", end) if tag[2] else ("if true", start)
        inner = "endif" if tag[2] else "if true"
        return f"{tag[1]}{name} %}}{{{{ '{mark}' }}}}{{% {inner}{tag[3]}"

    return _GENERATION.sub(marks, template)
