"""Text of each token, for people who look at tokens."""

from collections.abc import Iterable
from typing import Final

from gpt_lightning.tokenizers.stream import text_after
from gpt_lightning.tokenizers.tokenizer import Tokenizer

_MAX_BYTES: Final = 4
"""Bytes of the longest character in UTF-8."""


def token_texts(tokenizer: Tokenizer, ids: Iterable[int]) -> list[str]:
    """Return a text for each token. They join to the decoded text, with special tokens by their names.

    A character may take several tokens. Its last token has its text, and the others have an empty one.

    Args:
        tokenizer: the tokenizer.
        ids: token ids of one text.
    """
    texts: list[str] = []
    before: list[int] = []
    pending: list[int] = []
    for index in map(int, ids):
        if index in tokenizer.special_ids:
            texts.append(tokenizer.token(index))
            pending = []
            continue
        pending.append(index)
        text = text_after(tokenizer.decode, before, pending)
        if text.endswith("\ufffd") and len(pending) < _MAX_BYTES:
            texts.append("")
            continue
        texts.append(text)
        before, pending = (before + pending)[-_MAX_BYTES:], []
    return texts
