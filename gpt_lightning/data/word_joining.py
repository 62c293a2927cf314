"""Raw text of rows that have only words: the words are joined as they are usually written."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from gpt_lightning.data.word_rules import GivenWords
from gpt_lightning.data.word_split import is_unspaced

_CLOSING: Final = frozenset(".,;:!?)]}%…’”»。、，！？：；」』）")
_OPENING: Final = frozenset("([{$£€¥¿¡“‘«「『（") | {"``"}
_CLITIC: Final = re.compile(r"n['’]t|['’][A-Za-z]{1,2}", re.IGNORECASE)
_JOINERS: Final = frozenset("-‐‑–/_'’")
_DECIMALS: Final = frozenset(".,:")
_SAMPLE: Final = 1000
"""Approximate number of rows in a sample."""
_INNER: Final = re.compile(r"(?<=[^\W_])[-‐‑–/_'’.,:](?=[^\W_])")


def raw_texts(texts: Sequence[Sequence[str]], raw: Sequence[str | None]) -> list[GivenWords]:
    """Return the raw texts of a sample of rows, with the places of their words.

    Args:
        texts: words of each row.
        raw: text of each row if it has one. It is used if it has these words.
    """
    inner = inner_characters(word for words in texts for word in words)
    sample = []
    for number in range(0, len(texts), max(1, len(texts) // _SAMPLE)):
        text, words = raw[number], texts[number]
        places = None if text is None else locate_words(text, words)
        sample.append(join_words(words, inner) if text is None or places is None else GivenWords(text, places))
    return sample


def inner_characters(words: Iterable[str]) -> set[str]:
    """Return the punctuation that occurs inside of words, so that it joins nothing if it is a word."""
    return {character for word in words for character in _INNER.findall(word)}


def join_words(words: Sequence[str], inner: set[str]) -> GivenWords:
    """Return the text of words without the spaces that are not written, such as before a comma.

    Args:
        words: words, not empty.
        inner: characters from ``inner_characters``.
    """
    parts, spans, length, is_quoted = list[str](), list[tuple[int, int]](), 0, False
    for number, word in enumerate(words):
        before = words[number - 1] if number else ""
        after = words[number + 1] if number + 1 < len(words) else ""
        two_before = words[number - 2] if number > 1 else ""
        is_glued = (
            not before
            or set(word) <= _CLOSING
            or before in _OPENING
            or word == "''"
            or _CLITIC.fullmatch(word) is not None
            or (word == '"' and is_quoted)
            or (before == '"' and is_quoted)
            or (_is_unspaced_pair(before, word))
            or _is_joint(before, word, after, inner)
            or _is_joint(two_before, before, word, inner)
            or (before in ("#", "@") and word[0].isalnum())
        )
        if word == '"':
            is_quoted = not is_quoted
        if not is_glued:
            parts.append(" ")
            length += 1
        parts.append(word)
        spans.append((length, length + len(word)))
        length += len(word)
    return GivenWords("".join(parts), spans)


def locate_words(text: str, words: Sequence[str]) -> list[tuple[int, int]] | None:
    """Return the (start, stop) of words in a text; None if the text is not these words with whitespace around them."""
    spans, position = [], 0
    for word in words:
        while position < len(text) and text[position].isspace():
            position += 1
        if not text.startswith(word, position):
            return None
        spans.append((position, position + len(word)))
        position += len(word)
    return spans if not text[position:].strip() else None


def _is_unspaced_pair(left: str, right: str) -> bool:
    return is_unspaced(right[0]) and (is_unspaced(left[-1]) or left[-1] in "。、，！？：；「『（")


def _is_joint(left: str, middle: str, right: str, inner: set[str]) -> bool:
    """Return whether a punctuation word joins the words around it, such as the hyphen of well-known."""
    if not left or not right or middle in inner:
        return False
    if middle in _DECIMALS:
        return left[-1].isdigit() and right[0].isdigit()
    return middle in _JOINERS and left[-1].isalnum() and right[0].isalnum()
