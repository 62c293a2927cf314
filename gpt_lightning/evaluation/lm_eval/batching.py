"""Batches of texts whose common prefixes are computed once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

PAIRS_PER_CHANNEL: Final = 3
"""Cost of a token's matrix products, per channel of the model, in units of one query-key pair of attention.

The ratio of arithmetic operations is 6, but attention runs at half the speed of matrix products.
"""
MIN_FAST_TOKENS: Final = 256
"""Number of tokens in a batch from which larger batches hardly speed up matrix products."""
MIN_LENGTH_RATIO: Final = 0.85
"""Shortest row in a batch that is large enough to be fast, relative to its longest row."""


@dataclass
class Row:
    """Several texts in one row: the first in full, the others without the prefix they share with the previous text.

    Attributes:
        tokens: token ids of the row.
        positions: position of each token in its own text. A position that does not follow the one before it starts a
            branch.
        indices: index of a text -> indices of its tokens in the row.
    """

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    indices: dict[int, list[int]] = field(default_factory=dict)

    @property
    def has_branches(self) -> bool:
        """True if a text branches off inside another one; otherwise attention in the row is causal."""
        return self.positions != list(range(len(self.positions)))

    def add(self, number: int, text: Sequence[int], shared: int) -> None:
        """Add a text whose first ``shared`` tokens equal those of the text that was added last."""
        last = next(reversed(self.indices.values()), [])
        new = range(len(self.tokens), len(self.tokens) + len(text) - shared)
        self.indices[number] = [*last[:shared], *new]
        self.tokens += text[shared:]
        self.positions += range(shared, len(text))


def shared_rows(texts: Sequence[Sequence[int]], width: int, max_tokens: int) -> list[Row]:
    """Arrange texts in rows so that shared prefixes are computed once if that reduces the total cost.

    Args:
        texts: token ids of texts, at least one token each.
        width: number of channels of the model.
        max_tokens: maximum length of a row; a longer text has a row of its own.
    """
    rows: list[Row] = []
    previous: Sequence[int] = ()
    for number in sorted(range(len(texts)), key=lambda number: list(texts[number])):
        text = texts[number]
        # In sorted order, the previous text has the longest common prefix of all texts in the row.
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(previous, text, strict=False)))
        if not rows or not _reduces_cost(len(rows[-1].tokens), len(text), shared, width, max_tokens):
            rows.append(Row())
            shared = 0
        rows[-1].add(number, text, shared)
        previous = text
    return rows


def separate_rows(texts: Sequence[Sequence[int]]) -> list[Row]:
    """Return a row for each text."""
    rows = [Row() for _ in texts]
    for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
        row.add(number, text, 0)
    return rows


def _reduces_cost(row_length: int, text_length: int, shared: int, width: int, max_tokens: int) -> bool:
    """Return True if the matrix products of the shared tokens cost more than the additional attention in the row."""
    new = text_length - shared
    additional_pairs = 2 * row_length * new + new**2 - text_length**2 // 2
    return row_length + new <= max_tokens and shared * width * PAIRS_PER_CHANNEL >= additional_pairs


def batches(lengths: Sequence[int], max_tokens: int, min_length_ratio: float = MIN_LENGTH_RATIO) -> Iterator[list[int]]:
    """Yield batches of row indices, the longest rows first, with as many rows as fit.

    Args:
        lengths: lengths of the rows.
        max_tokens: maximum number of tokens in a batch, including padding; a longer row is a batch of its own.
        min_length_ratio: shortest row in a batch of ``MIN_FAST_TOKENS`` or more, relative to its longest row.
    """
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        longest = lengths[batch[0]] if batch else 0
        would_pad = len(batch) * longest >= MIN_FAST_TOKENS and lengths[number] < min_length_ratio * longest
        if batch and ((len(batch) + 1) * longest > max_tokens or would_pad):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
