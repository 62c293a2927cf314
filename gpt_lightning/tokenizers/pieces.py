"""Encoding of long documents in pieces, whose ids join to those of the whole document."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Encode = Callable[[Sequence[str]], Sequence[NDArray[np.int64]]]
"""Function that returns the token ids of each text."""

_MARGIN: Final = 256
"""Characters on each side of a border that are encoded to check it, and by which it may move."""

_NO_PREFIX: Final = {"prepend_scheme": "never", "add_prefix_space": False, "strip_left": False}
"""Settings of normalizers and pre-tokenizers -> values without an effect at the start of a text."""


def border(before: str, after: str, encode: Encode) -> int:
    """Return the number of characters by which the border between two pieces should move; negative ones move it left.

    At the new border, the ids of both sides join to those of the text around it. If no place nearby has this property,
    the result is 0.

    Args:
        before: piece of a document.
        after: the next piece.
        encode: function that encodes texts which continue a document.
    """
    left, right = before[-_MARGIN:], after[:_MARGIN]
    text, middle = left + right, len(left)
    (expected,) = encode([text])
    for place in sorted(range(1, len(text)), key=lambda place: abs(place - middle)):
        if np.array_equal(np.concatenate(encode([text[:place], text[place:]])), expected):
            return place - middle
    return 0


def continuation_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a tokenizer for texts that continue a document.

    Many tokenizers add a blank in front of a text, or remove whitespace there. This one treats the start of a text like
    any other place.

    Args:
        state: content of a ``tokenizer.json``.
    """
    normalizer = None if _is_prepend(state["normalizer"]) else _without_prefix(state["normalizer"])
    return state | {"normalizer": normalizer, "pre_tokenizer": _without_prefix(state["pre_tokenizer"])}


def _without_prefix(part: Any) -> Any:
    """Return the JSON of a normalizer or pre-tokenizer that adds and removes nothing at the start of a text."""
    if isinstance(part, list):
        return [_without_prefix(each) for each in part if not _is_prepend(each)]
    if not isinstance(part, dict):
        return part
    parts = {name: _without_prefix(each) for name, each in part.items()}
    return parts | {name: value for name, value in _NO_PREFIX.items() if name in parts}


def _is_prepend(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "Prepend"
