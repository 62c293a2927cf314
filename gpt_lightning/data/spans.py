"""Labeled spans of a text: validation, alignment with words, and conversion to tags.

Offsets are characters, counted from 0, and the end is after the last character. Words are (start, stop), in order.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Literal
from unicodedata import normalize

from gpt_lightning.data.labels import BLANKS
from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.data.tags import Scheme, Span, span_tags
from gpt_lightning.errors import InputError

Align = Literal["strict", "expand"]
"""Treatment of spans that begin or end inside of a word: an error, or expansion to all words that they overlap."""

Words = Sequence[tuple[int, int]]

_WIDTHS: Final[dict[str, Callable[[str], int]]] = {
    "characters": lambda _: 1,
    "UTF-8 bytes": lambda character: len(character.encode(errors="surrogatepass")),
    "UTF-16 code units": lambda character: 1 + (ord(character) > 0xFFFF),
}
"""Unit of offsets -> width of a character in it."""


@dataclass(frozen=True, slots=True)
class RowSpan:
    """Span as a row gives it; ``text`` is None if the row does not repeat it."""

    start: int
    end: int
    label: str
    text: str | None


def read_spans(values: Sequence[Any], text: str, words: Words, where: str) -> list[Span]:
    """Return the (start, end, label) of the spans in a row.

    Args:
        values: objects with ``start``, ``end``, ``label`` and, optionally, ``text``.
        text: text of the row.
        words: words of the text. Messages use them to find the unit of wrong offsets.
        where: location of the row, for messages.

    Raises:
        InputError: a span is malformed, empty or outside of the text, or differs from its ``text``.
    """
    spans = [_row_span(value, where) for value in values]
    for span in spans:
        name = f"{where}: the span {span.start}-{span.end} ({short_repr(span.label)})"
        if not 0 <= span.start < span.end <= len(text):
            raise InputError(
                f"{name} is empty or outside the text of {len(text)} characters; {_remedy(spans, text, words)}"
            )
        found = text[span.start : span.end]
        # Texts in different Unicode forms are equal; the offsets say which characters are meant.
        if span.text is not None and normalize("NFC", span.text) != normalize("NFC", found):
            raise InputError(
                f'{name} is {short_repr(found)} in the text, but its "text" is {short_repr(span.text)}; '
                f"{_remedy(spans, text, words)}"
            )
    return [(span.start, span.end, span.label) for span in spans]


def check_alignment(spans: Sequence[Span], text: str, words: Words, where: str) -> None:
    """Check that every span begins and ends with a word.

    Raises:
        InputError: a span begins or ends inside of a word, or with whitespace.
    """
    starts, stops = [word[0] for word in words], [word[1] for word in words]
    for start, end, label in spans:
        first, last = bisect_right(stops, start), bisect_left(starts, end) - 1
        if first <= last and (starts[first], stops[last]) != (start, end):
            covered = text[starts[first] : stops[last]]
            remedy = _remedy([RowSpan(*span, text=None) for span in spans], text, words)
            raise InputError(
                f"{where}: {_name((start, end, label), text)} does not begin and end with a word: the words there are "
                f"{short_repr(covered)}; {remedy}, or tag all words that spans overlap with --data.align=expand"
            )


def spans_to_tags(spans: Sequence[Span], text: str, words: Words, scheme: Scheme, where: str) -> list[str]:
    """Return the tag of each word. A word belongs to a span if they overlap in any character.

    Args:
        spans: spans in any order.
        text: the text.
        words: words of the text.
        scheme: scheme of the tags.
        where: location of the text, for messages.

    Raises:
        InputError: a span contains no word, or two spans overlap or share a word.
    """
    starts, stops = [word[0] for word in words], [word[1] for word in words]
    word_spans: list[Span] = []
    previous: Span = (0, 0, "")
    for span in sorted(spans):
        start, stop, label = span
        first, last = bisect_right(stops, start), bisect_left(starts, stop)
        if first >= last:
            raise InputError(f"{where}: {_name(span, text)} contains no word of the text; fix or remove it")
        if word_spans and (start < previous[1] or first < word_spans[-1][1]):
            word = short_repr(text[slice(*words[first])])
            relation = "overlap" if start < previous[1] else f"share the word {word}"
            raise InputError(
                f"{where}: {_name(previous, text)} and {_name(span, text)} {relation}, but a word has only one tag; "
                "remove one of them"
            )
        word_spans.append((first, last, label))
        previous = span
    return span_tags(word_spans, len(words), scheme)


def _name(span: Span, text: str) -> str:
    start, end, label = span
    return f"the span {start}-{end} {short_repr(text[start:end])} ({short_repr(label)})"


def _row_span(value: Any, where: str) -> RowSpan:
    if not isinstance(value, dict) or not {"start", "end", "label"} <= set(value):
        raise InputError(
            f"{where}: the span {short_repr(value)} is not like {{'start': 0, 'end': 5, 'label': 'PER'}}; fix it"
        )
    start, end, label = value["start"], value["end"], value["label"]
    label = label.strip(BLANKS) if isinstance(label, str) else label
    if not _is_whole(start) or not _is_whole(end):
        raise InputError(f"{where}: the start and end of the span {short_repr(value)} are not whole numbers; fix them")
    if not isinstance(label, str) or not label:
        raise InputError(
            f"{where}: the label of the span {start}-{end} is {short_repr(label)}, not a non-empty string; fix it"
        )
    text = value.get("text")
    if text is not None and not isinstance(text, str):
        raise InputError(f'{where}: the "text" of the span {start}-{end} is {short_repr(text)}, not a string; fix it')
    return RowSpan(start, end, label, text)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_aligned(start: int, end: int, words: Words) -> bool:
    """Return whether a span begins at the start of a word and ends at the end of one."""
    first = bisect_left(words, (start, 0))
    last = bisect_left(words, (end, 0)) - 1
    return first <= last and words[first][0] == start and words[last][1] == end


def _remedy(spans: Sequence[RowSpan], text: str, words: Words) -> str:
    """Return advice for wrong offsets: the unit in which all spans of the row fit its texts or words, if any does."""
    for unit, read in _readings(spans, text):
        if all(
            _is_aligned(start, end, words) if span.text is None else text[start:end] == span.text
            for span, (start, end) in zip(spans, read, strict=True)
        ):
            found = ", ".join(short_repr(text[start:end]) for start, end in read[:3])
            return (
                f"the offsets seem to be {unit} ({found}): convert them to characters, with the end after the last one"
            )
    return "fix the offsets"


def _readings(spans: Sequence[RowSpan], text: str) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Yield units of offsets, with the spans in characters that they imply."""
    for unit, width in _WIDTHS.items():
        places = {place: number for number, place in enumerate(accumulate(map(width, text), initial=0))}
        for ends, shift in (("", 0), (" with inclusive ends", 1)):
            read = [(places.get(span.start, -1), places.get(span.end + shift, -1)) for span in spans]
            if all(0 <= start < end for start, end in read):
                yield f"{unit}{ends}", read
