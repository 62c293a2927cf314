"""Batches of texts in which common prefixes are computed once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

PAIRS_PER_CHANNEL: Final = 3
"""A token's way through the matrices costs as much as this many pairs of attention, for each channel of the model.

By arithmetic alone it is 6; attention runs at half the speed of matrix products.
"""
FAST: Final = 256
"""Tokens of a batch from which on matrix products gain next to nothing from more of them."""
ALIKE: Final = 0.85


@dataclass
class Row:
    """Texts in one row: the first one whole, of each other one what it does not share with the one before.

    Attributes:
        tokens: all of them.
        positions: of each token in its own text; one that is not the next starts a branch.
        places: number of a text -> where in the row each of its tokens is.
    """

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    places: dict[int, list[int]] = field(default_factory=dict)

    @property
    def is_forked(self) -> bool:
        """Whether a text branches off inside another; without that, attention is plainly causal."""
        return self.positions != list(range(len(self.positions)))

    def add(self, number: int, text: Sequence[int], shared: int) -> None:
        """Add a text whose first ``shared`` tokens are those of the text that was added last."""
        last = next(reversed(self.places.values()), [])
        new = range(len(self.tokens), len(self.tokens) + len(text) - shared)
        self.places[number] = [*last[:shared], *new]
        self.tokens += text[shared:]
        self.positions += range(shared, len(text))


def shared_rows(texts: Sequence[Sequence[int]], width: int, max_tokens: int) -> list[Row]:
    """Put texts into rows so that what they share is computed once, where that is less work.

    Args:
        texts: at least one token each.
        width: channels of the model.
        max_tokens: the longest that a row may get, unless a text alone is longer.
    """
    rows: list[Row] = []
    before: Sequence[int] = ()
    for number in sorted(range(len(texts)), key=lambda number: list(texts[number])):
        text = texts[number]
        # In this order, no text of the row shares more with this one than the one before.
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, text, strict=False)))
        if not rows or not _is_worth_it(len(rows[-1].tokens), len(text), shared, width, max_tokens):
            rows.append(Row())
            shared = 0
        rows[-1].add(number, text, shared)
        before = text
    return rows


def _is_worth_it(row: int, text: int, shared: int, width: int, max_tokens: int) -> bool:
    """Whether the tokens that are saved cost more than the attention over all of the row's tokens."""
    new = text - shared
    more_pairs = 2 * row * new + new**2 - text**2 // 2
    return row + new <= max_tokens and shared * width * PAIRS_PER_CHANNEL >= more_pairs


def batches(lengths: Sequence[int], max_tokens: int, alike: float = ALIKE) -> Iterator[list[int]]:
    """Numbers of rows that go together: the longest first, as many as fit.

    Args:
        lengths: of the rows.
        max_tokens: of a batch, padding included; one row alone may have more.
        alike: a batch that is large enough to be fast takes no row that is shorter than this share of its longest.
    """
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        longest = lengths[batch[0]] if batch else 0
        would_pad = len(batch) * longest >= FAST and lengths[number] < alike * longest
        if batch and ((len(batch) + 1) * longest > max_tokens or would_pad):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
