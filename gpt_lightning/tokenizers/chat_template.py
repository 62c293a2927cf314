"""Chat templates, which render a conversation as the text format of a model's training."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

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
    special_tokens = {name: value for name, value in config.to_dict().items() if name.endswith("_token")}
    variables = {
        "messages": copies,
        "tools": None,
        "documents": None,
        "add_generation_prompt": add_generation_prompt,
    }
    try:
        text = render("chat", _GENERATION.sub(_if_tag, config.chat_template), {**variables, **special_tokens})
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


def _if_tag(tag: re.Match[str]) -> str:
    """Return the ``if true`` or ``endif`` tag that replaces a generation tag."""
    return f"{tag[1]}{'endif' if tag[2] else 'if true'}{tag[3]}"
