"""Token ids of prompts, equal to those of transformers for the same text or messages."""

from collections.abc import Mapping, Sequence

from gpt_lightning.tokenizers.chat_template import chat_text
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.tokenizers.tokenizer import Tokenizer

Message = Mapping[str, str]
"""Message of a chat, with ``role`` and ``content``."""


def text_prompt(
    tokenizer: Tokenizer, text: str, *, is_raw: bool = False, layout: InputLayout | None = None
) -> list[int]:
    """Return the ids of a text, with the tokens that the tokenizer adds to every text, such as BOS.

    Special tokens that are written in the text become their ids. An empty text starts a new document.

    Args:
        tokenizer: tokenizer of the model.
        text: the text.
        is_raw: the text is the whole prompt: add no tokens.
        layout: complete layout of the source of an encoder-decoder, whose text is encoded as in training; None for
            language models.
    """
    if layout is not None and not is_raw:
        prefix, _, suffix = layout.parts
        return [*prefix, *tokenizer.encode(text), *suffix]
    ids = tokenizer.encode_published(text, add_special_tokens=not is_raw)
    return ids or [_first_id(tokenizer)]


def chat_prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Return the ids of a chat in the format of the chat template.

    The prompt ends with the start of the model's answer, or inside the last message if that is the assistant's.

    Args:
        tokenizer: tokenizer of the model.
        messages: messages with ``role`` and ``content``, at least one.

    Raises:
        InputError: the tokenizer has no chat template, or the template rejects these messages.
    """
    is_answered = messages[-1]["role"] == "assistant"
    text = chat_text(tokenizer.config, messages, add_generation_prompt=not is_answered)
    return text_prompt(tokenizer, text, is_raw=True)


def _first_id(tokenizer: Tokenizer) -> int:
    """Return the id that starts a text without a prompt: BOS or, if the model has none, the end-of-text token."""
    if tokenizer.config.bos_token is None:
        return next(iter(tokenizer.configured_ids("bos_token_id")), tokenizer.end_of_text_id)
    return tokenizer.begin_of_text_id
