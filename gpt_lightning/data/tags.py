"""BIO and BIOES tags, and the spans of text that they stand for.

A span is (start, stop, label) and a word is (start, stop), in characters; words are in order and do not overlap.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.errors import InputError

Scheme = Literal["BIO", "BIOES"]
"""B starts a span, I goes on, O is outside; with E for its end and S for one word alone."""

Span = tuple[int, int, str]

_PREFIXES: Final[dict[Scheme, str]] = {"BIO": "BI", "BIOES": "BIES"}
_TAG: Final = re.compile("O|[BIES]-.+", re.DOTALL)


def check_tags(tags: Sequence[str], where: str) -> None:
    """Check the tags of one text, in BIO or BIOES or both; ``where`` is the text's place, for the message.

    Raises:
        InputError: a tag of another form, or an I- or E- tag that goes on with nothing of its type.
    """
    going = ""  # the type that an I- or E- tag may go on with
    for index, tag in enumerate(tags):
        place = f"{where}: tag {short_repr(tag)} of word {index + 1} (index {index})"
        if not isinstance(tag, str) or not _TAG.fullmatch(tag):
            raise InputError(f"{place} is not O or one of B-, I-, E-, S- and a type, such as B-PER; fix the tag")
        prefix, _, label = tag.partition("-")
        if prefix in "IE" and label != going:
            short = short_repr(label)[1:-1]
            raise InputError(
                f"{place} does not follow B-{short} or I-{short}; start the span with B-{short} or fix its type"
            )
        going = label if prefix in "BI" else ""


def tag_names(types: Sequence[str], scheme: Scheme) -> list[str]:
    """Return every tag of ``scheme``: O first, then of each type in sorted order B-, I- (and E-, S-)."""
    return ["O", *(f"{prefix}-{label}" for label in sorted(set(types)) for prefix in _PREFIXES[scheme])]


def spans_to_tags(
    spans: Sequence[Span], words: Sequence[tuple[int, int]], scheme: Scheme, where: str = ""
) -> list[str]:
    """Return the tag of each word: those that overlap a span in any character belong to it.

    Raises:
        InputError: a span is empty, has no label or touches no word, or two want the same characters or word. It
            starts with ``where``, the text's place.
    """
    starts, stops = [word[0] for word in words], [word[1] for word in words]
    found: list[Span] = []
    before: Span = (0, 0, "")
    for span in sorted(spans):
        start, stop, label = span
        first, last = bisect_right(stops, start), bisect_left(starts, stop)
        if not label:
            raise InputError(f"{where}: the span {short_repr(span)} has no label; name its type")
        if start >= stop or first >= last:
            raise InputError(f"{where}: the span {short_repr(span)} touches no word of the text; fix or remove it")
        if found and (start < before[1] or first < found[-1][1]):
            how = "overlap" if start < before[1] else f"share the word at {words[first]}"
            raise InputError(
                f"{where}: the spans {short_repr(before)} and {short_repr(span)} {how}, but a word has one tag; "
                "remove one of them"
            )
        found.append((first, last, label))
        before = span
    return _tags(found, len(words), scheme)


def scheme_of(tags: Sequence[str]) -> Scheme:
    """Return the scheme that ``tags`` are names of."""
    return "BIOES" if any(tag.startswith(("E-", "S-")) for tag in tags) else "BIO"


def convert_tags(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """Return ``tags``, of either scheme, in ``scheme``, with the same spans."""
    return _tags(_word_spans(tags), len(tags), scheme)


def _word_spans(tags: Sequence[str]) -> list[Span]:
    """Return the spans as (first word, stop word, label), by conlleval's rules.

    An I- or E- tag that goes on with nothing of its type starts a span, and what is not B-, I-, E- or S- counts as O.
    """
    spans: list[Span] = []
    going = ""
    for index, tag in enumerate(tags):
        prefix, _, label = tag.partition("-")
        if not label or prefix not in {"B", "I", "E", "S"}:
            going = ""
            continue
        if prefix in "IE" and label == going:
            spans[-1] = (spans[-1][0], index + 1, label)
        else:
            spans.append((index, index + 1, label))
        going = label if prefix in "BI" else ""
    return spans


def _tags(spans: Iterable[Span], num_words: int, scheme: Scheme) -> list[str]:
    """Return the tags of spans in words."""
    tags = ["O"] * num_words
    for first, stop, label in spans:
        tags[first:stop] = [f"I-{label}"] * (stop - first)
        tags[first] = f"B-{label}"
        if scheme == "BIOES":
            tags[stop - 1] = f"E-{label}" if stop - first > 1 else f"S-{label}"
    return tags
