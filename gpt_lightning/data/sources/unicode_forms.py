"""Strings that look the same but differ in Unicode normalization, such as "é" as one character or as two."""

import unicodedata
from bisect import bisect_left
from typing import Final, Literal

Form = Literal["nfc", "nfkc"]
FORMS: Final[tuple[Form, ...]] = ("nfc", "nfkc")


def normalize(text: str, form: Form) -> str:
    """Return a text in a Unicode normalization form."""
    return unicodedata.normalize("NFC" if form == "nfc" else "NFKC", text)


def find_normalized(text: str, start: int, context: str, form: Form) -> tuple[int, int] | None:
    """Return the characters [start, end) of a context that equal a text after normalization, or None.

    Args:
        text: the text to find.
        start: its start, in characters of the context or of the normalized context.
        context: the context, which stays as it is.
        form: form in which the strings are compared.
    """
    target = normalize(text, form)
    for first in dict.fromkeys((start, _place(context, start, form))):
        # A composed character has at most four characters in NFD.
        part = context[first : first + 4 * len(text) + 16]
        end = _place(part, len(target), form)
        while end < len(part) and len(normalize(part[: end + 1], form)) == len(target):
            end += 1  # combining marks belong to the character before them
        if end and normalize(part[:end], form) == target:
            return first, first + end
    return None


def _place(text: str, length: int, form: Form) -> int:
    """Return the length of the shortest prefix with at least ``length`` normalized characters.

    Normalization never makes a prefix shorter when characters are added to it, so a binary search finds it.
    """
    return bisect_left(range(len(text)), length, key=lambda end: len(normalize(text[:end], form)))
