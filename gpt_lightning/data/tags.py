"""BIO and BIOES tags, and the spans of text that they encode.

A span is (start, stop, label) and a word is (start, stop), in characters. Words are in order and do not overlap.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.errors import InputError

Scheme = Literal["BIO", "BIOES"]
"""Tagging scheme: B begins a span, I continues it, O is outside. In BIOES, E ends a span and S is a single word."""

Span = tuple[int, int, str]

_PREFIXES: Final[dict[Scheme, str]] = {"BIO": "BI", "BIOES": "BIES"}
_TAG: Final = re.compile("O|[BIES]-.+", re.DOTALL)


def check_tags(tags: Sequence[str], where: str) -> None:
    """Check the tags of a text, in BIO, BIOES or a mixture.

    Args:
        tags: one tag per word.
        where: location of the text, for messages.

    Raises:
        InputError: a tag is malformed, or an I- or E- tag does not continue a span of its type.
    """
    open_type = ""  # type of the span that an I- or E- tag may continue
    for index, tag in enumerate(tags):
        place = f"{where}: tag {short_repr(tag)} of word {index + 1} (index {index})"
        if not isinstance(tag, str) or not _TAG.fullmatch(tag):
            raise InputError(f"{place} is neither O nor a type with the prefix B-, I-, E- or S-, such as B-PER; fix it")
        prefix, _, label = tag.partition("-")
        if prefix in "IE" and label != open_type:
            short = short_repr(label)[1:-1]
            raise InputError(
                f"{place} does not follow B-{short} or I-{short}; start the span with B-{short} or fix its type"
            )
        open_type = label if prefix in "BI" else ""


def tag_names(types: Sequence[str], scheme: Scheme) -> list[str]:
    """Return all tags of a scheme: O, then B-, I- (and E-, S-) for each type in sorted order."""
    return ["O", *(f"{prefix}-{label}" for label in sorted(set(types)) for prefix in _PREFIXES[scheme])]


def spans_to_tags(
    spans: Sequence[Span], words: Sequence[tuple[int, int]], scheme: Scheme, where: str = ""
) -> list[str]:
    """Return the tag of each word. A word belongs to a span if they overlap in any character.

    Args:
        spans: spans in any order.
        words: words of the text.
        scheme: scheme of the tags.
        where: location of the text, for messages.

    Raises:
        InputError: a span is empty, has no label or contains no word, or two spans overlap or share a word.
    """
    starts, stops = [word[0] for word in words], [word[1] for word in words]
    word_spans: list[Span] = []
    previous: Span = (0, 0, "")
    for span in sorted(spans):
        start, stop, label = span
        first, last = bisect_right(stops, start), bisect_left(starts, stop)
        if not label:
            raise InputError(f"{where}: the span {short_repr(span)} has no label; add its type")
        if start >= stop or first >= last:
            raise InputError(f"{where}: the span {short_repr(span)} contains no word of the text; fix or remove it")
        if word_spans and (start < previous[1] or first < word_spans[-1][1]):
            relation = "overlap" if start < previous[1] else f"share the word at {words[first]}"
            raise InputError(
                f"{where}: the spans {short_repr(previous)} and {short_repr(span)} {relation}, but a word has only "
                "one tag; remove one of them"
            )
        word_spans.append((first, last, label))
        previous = span
    return _tags(word_spans, len(words), scheme)


def scheme_of(tags: Sequence[str]) -> Scheme:
    """Return the scheme of a set of tag names."""
    return "BIOES" if any(tag.startswith(("E-", "S-")) for tag in tags) else "BIO"


def convert_tags(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """Convert the tags of a text from either scheme to ``scheme``; the spans stay the same."""
    return _tags(_word_spans(tags), len(tags), scheme)


def merge_tags(tags: Sequence[str], firsts: Sequence[int], scheme: Scheme) -> list[str] | None:
    """Return the tags of a text after consecutive words are merged; None if a span begins or ends inside such a group.

    Args:
        tags: one tag per word.
        firsts: index of the first word of each group, from 0.
        scheme: scheme of the result.
    """
    groups = {word: number for number, word in enumerate([*firsts, len(tags)])}
    spans = [(groups.get(first), groups.get(stop), label) for first, stop, label in _word_spans(tags)]
    merged = [(first, stop, label) for first, stop, label in spans if first is not None and stop is not None]
    return _tags(merged, len(firsts), scheme) if len(merged) == len(spans) else None


def _word_spans(tags: Sequence[str]) -> list[Span]:
    """Return the spans as (first word, stop word, label), by the rules of conlleval.

    An I- or E- tag that does not continue a span of its type starts a span. Tags other than B-, I-, E- and S- are O.
    """
    spans: list[Span] = []
    open_type = ""
    for index, tag in enumerate(tags):
        prefix, _, label = tag.partition("-")
        if not label or prefix not in {"B", "I", "E", "S"}:
            open_type = ""
            continue
        if prefix in "IE" and label == open_type:
            spans[-1] = (spans[-1][0], index + 1, label)
        else:
            spans.append((index, index + 1, label))
        open_type = label if prefix in "BI" else ""
    return spans


def _tags(spans: Iterable[Span], num_words: int, scheme: Scheme) -> list[str]:
    """Return the tags of spans that are given as (first word, stop word, label)."""
    tags = ["O"] * num_words
    for first, stop, label in spans:
        tags[first:stop] = [f"I-{label}"] * (stop - first)
        tags[first] = f"B-{label}"
        if scheme == "BIOES":
            tags[stop - 1] = f"E-{label}" if stop - first > 1 else f"S-{label}"
    return tags
