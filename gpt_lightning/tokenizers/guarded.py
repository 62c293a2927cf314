"""Encoding of rendered chats in which special tokens count only where the template writes them, not in users' texts.

Before users' texts are rendered, each special token in them gets an invisible mark. In the rendered text, special
tokens without a mark come from the template. A copy of the tokenizer knows special tokens under other names, so those
in users' texts are encoded like any other text.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import AddedToken

from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.pieces import continuation_state
from gpt_lightning.tokenizers.tokenizer import Tokenizer

# Unicode reserves these noncharacters for internal use in a program.
_BREAK: Final = "\ufdd0"
_EDGE: Final = "\ufdd1"
SPAN_START: Final = "\ufdd2"
SPAN_END: Final = "\ufdd3"
_RESERVED: Final = dict.fromkeys(map(ord, (_BREAK, _EDGE, SPAN_START, SPAN_END)), "\ufffd")
_FLAGS: Final = ("single_word", "lstrip", "rstrip", "normalized", "special")


class GuardedTokenizer:
    """Tokenizer of rendered chats.

    Args:
        tokenizer: tokenizer of the model.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._state = tokenizer.state()
        added = [token for token in self._state["added_tokens"] if token["content"]]
        self._added = sorted(added, key=lambda token: int(token["id"]))
        special = [token["content"] for token in self._added if token["special"]]
        self._special = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))))
        self._heads = tuple({token[:size] for token in special for size in range(1, len(token))})
        self._tails = tuple({token[size:] for token in special for size in range(1, len(token))})
        ids = {token["id"] for token in self._added if token["special"]} - {tokenizer.unknown_id}
        self._special_ids = np.array(sorted(ids), dtype=np.int64)
        self._encoders: dict[bool, tuple[tokenizers.Tokenizer, NDArray[np.int64]]] = {}

    def guard(self, text: str) -> str:
        """Return a user's text with marks, so that no special token counts in it or at its borders."""
        text = text.translate(_RESERVED)
        while match := self._special.search(text):
            text = f"{text[: match.start() + 1]}{_BREAK}{text[match.start() + 1 :]}"
        core = text.strip()
        start = text.index(core)
        # A user's text could form a special token together with the template's text. The marks stay inside of the
        # whitespace, so that templates can strip it.
        if core.startswith(self._tails):
            core = _BREAK + core
        if core.endswith(self._heads):
            core += _BREAK
        return text[:start] + core + text[start + len(text.strip()) :]

    def clean(self, rendered: str) -> str:
        """Return a rendered text without marks."""
        return rendered.replace(_BREAK, "")

    def encode(self, chats: Sequence[Sequence[str]]) -> list[list[NDArray[np.int64]] | InputError]:
        """Return the ids of each part of rendered chats, or an error in place of a chat.

        The ids are those of the joined parts, except where a token would cross the border of two parts. There, both
        sides are encoded separately, because a prompt is also encoded separately before the model answers it.

        Args:
            chats: parts of each rendered text, in order.
        """
        marked = [[self._special.sub(_with_edges, part).replace(_BREAK, "") for part in parts] for parts in chats]
        counts = [sum(part.count(_EDGE) for part in parts) // 2 for parts in marked]
        encodings = self._encode(["".join(parts) for parts in marked])
        return [
            self._checked(self._at_borders(parts, ids, offsets, is_continuation=False), count)
            for parts, (ids, offsets), count in zip(marked, encodings, counts, strict=True)
        ]

    def _at_borders(
        self, parts: Sequence[str], ids: NDArray[np.int64], offsets: NDArray[np.int64], *, is_continuation: bool
    ) -> list[NDArray[np.int64]]:
        """Return the ids of each part from the ids of the joined parts."""
        borders = np.cumsum([len(part) for part in parts])[:-1]
        first = np.searchsorted(offsets[:, 1], borders, side="right")  # tokens that end after each border
        is_inside = first < len(ids)
        crossing = np.zeros(len(borders), dtype=np.bool_)
        crossing[is_inside] = offsets[first[is_inside], 0] < borders[is_inside]
        # GPT-2's pattern splits blanks before a word otherwise than blanks at the end of a text.
        text = "".join(parts)
        crossing |= np.array([end > 1 and text[end - 2 : end].isspace() for end in borders.tolist()], dtype=np.bool_)
        if not crossing.any():
            return np.split(ids, first)
        cut = int(np.flatnonzero(crossing)[0]) + 1
        ((left, left_offsets),) = self._encode(["".join(parts[:cut])], is_continuation=is_continuation)
        right = "".join(parts[cut:])
        ((right_ids, right_offsets),) = self._encode([right], is_continuation=True)
        return [
            *self._at_borders(parts[:cut], left, left_offsets, is_continuation=is_continuation),
            *self._at_borders(parts[cut:], right_ids, right_offsets, is_continuation=True),
        ]

    def _checked(self, parts: list[NDArray[np.int64]], count: int) -> list[NDArray[np.int64]] | InputError:
        """Return the parts, or an error if they contain more special tokens than the template wrote."""
        found = sum(int(np.isin(part, self._special_ids).sum()) for part in parts)
        if found == count:
            return parts
        return InputError(
            f"the tokenizer gives {found} special tokens where the chat template writes {count}, because its "
            "vocabulary also has them as ordinary text. Remove them from the text, or use another tokenizer"
        )

    def _encode(
        self, texts: Sequence[str], *, is_continuation: bool = False
    ) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Return the ids, (n,), and their character ranges, (n, 2), for each text."""
        if is_continuation not in self._encoders:
            self._encoders[is_continuation] = self._build(
                continuation_state(self._state) if is_continuation else self._state
            )
        inner, to_id = self._encoders[is_continuation]
        try:
            encodings = inner.encode_batch(list(texts), add_special_tokens=False)
        except Exception as error:  # the library raises bare Exceptions
            raise InputError(f"the tokenizer cannot encode a chat ({error}). Use another tokenizer") from None
        return [
            (to_id[np.array(each.ids, dtype=np.int64)], np.array(each.offsets, dtype=np.int64).reshape(-1, 2))
            for each in encodings
        ]

    def _build(self, state: dict[str, Any]) -> tuple[tokenizers.Tokenizer, NDArray[np.int64]]:
        """Return the copy of the tokenizer, and the original id for each id of the copy."""
        plain = state | {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        inner = tokenizers.Tokenizer.from_str(json.dumps(plain))
        named = [
            (_mark_edges(token["content"]) if token["special"] else token["content"], token) for token in self._added
        ]
        for name, token in named:
            added = AddedToken(name, **{flag: token[flag] for flag in _FLAGS})
            (inner.add_special_tokens if token["special"] else inner.add_tokens)([added])
        to_id = np.arange(max(inner.get_vocab(with_added_tokens=True).values()) + 1)
        for name, token in named:
            to_id[inner.token_to_id(name)] = token["id"]
        return inner, to_id


def _mark_edges(token: str) -> str:
    return f"{_EDGE}{token}{_EDGE}"


def _with_edges(token: re.Match[str]) -> str:
    return _mark_edges(token[0])
