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
    # Normalization never makes a prefix of a text shorter when characters are added to the prefix.
    places = range(len(context) + 1)
    normalized_start = bisect_left(places, start, key=lambda place: len(normalize(context[:place], form)))
    target = normalize(text, form)
    for first in dict.fromkeys((start, normalized_start)):
        for end in range(first + 1, min(len(context), first + 4 * len(text) + 4) + 1):
            if not _splits_character(context, end) and normalize(context[first:end], form) == target:
                return first, end
    return None


def _splits_character(context: str, place: int) -> bool:
    """Return whether a combining mark follows, which belongs to the character before it."""
    return place < len(context) and unicodedata.combining(context[place]) > 0
