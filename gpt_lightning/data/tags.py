"""BIO, BIOES and BILOU tags, and the spans of words that they encode."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

Scheme = Literal["BIO", "BIOES", "BILOU"]
"""Tagging scheme of a model: B begins a span, I continues it, O is outside. BIO is the scheme IOB2.

In BIOES, E ends a span and S is a single word. BILOU has the letters L and U instead.
"""

Span = tuple[int, int, str]
"""Start, stop and label, in words or characters."""

_PREFIXES: Final[dict[Scheme, str]] = {"BIO": "BI", "BIOES": "BIES", "BILOU": "BILU"}


def tag_names(types: Sequence[str], scheme: Scheme) -> list[str]:
    """Return all tags of a scheme: O, then those of each type in sorted order, such as B- and I-."""
    return ["O", *(f"{prefix}-{label}" for label in sorted(set(types)) for prefix in _PREFIXES[scheme])]


def scheme_of(tags: Sequence[str]) -> Scheme:
    """Return the scheme of a set of tag names."""
    if any(tag.startswith(("L-", "U-")) for tag in tags):
        return "BILOU"
    return "BIOES" if any(tag.startswith(("E-", "S-")) for tag in tags) else "BIO"


def convert_tags(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """Convert the tags of a text from IOB1, BIO, BIOES or BILOU to ``scheme``; the spans stay the same."""
    return span_tags(_word_spans(tags), len(tags), scheme)


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
    return span_tags(merged, len(firsts), scheme) if len(merged) == len(spans) else None


def span_tags(spans: Iterable[Span], num_words: int, scheme: Scheme) -> list[str]:
    """Return the tags of spans that are given as (first word, stop word, label)."""
    tags = ["O"] * num_words
    for first, stop, label in spans:
        tags[first:stop] = [f"I-{label}"] * (stop - first)
        tags[first] = f"B-{label}"
        if scheme != "BIO":
            prefix = _PREFIXES[scheme][2 if stop - first > 1 else 3]
            tags[stop - 1] = f"{prefix}-{label}"
    return tags


def _word_spans(tags: Sequence[str]) -> list[Span]:
    """Return the spans as (first word, stop word, label), by the rules of conlleval.

    An I-, E- or L- tag that does not continue a span of its type starts a span. Tags without a prefix are O.
    """
    spans: list[Span] = []
    open_type = ""
    for index, tag in enumerate(tags):
        prefix, _, label = tag.partition("-")
        if not label or prefix not in {*"BIESLU"}:
            open_type = ""
            continue
        if prefix in "IEL" and label == open_type:
            spans[-1] = (spans[-1][0], index + 1, label)
        else:
            spans.append((index, index + 1, label))
        open_type = label if prefix in "BI" else ""
    return spans
