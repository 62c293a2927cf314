"""Rows in memory, orders that group rows of similar length, and padding."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt_lightning.data.permutation import Permutation

BATCHES_PER_SORT: Final = 50
"""Number of batches whose training rows are sorted by length together: little padding, but still random batches."""

Order = Callable[[int], NDArray[np.int64]]
"""Function of an epoch that returns the row numbers in the order of that epoch."""


class SequentialOrder:
    """Order of the source."""

    def __init__(self, size: int) -> None:
        self.order = np.arange(size)

    def __call__(self, epoch: int) -> NDArray[np.int64]:
        """Return every row number once."""
        return self.order


class LongestFirstOrder:
    """Order by decreasing length: little padding, and the first batch shows whether memory suffices."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.order = np.argsort(-np.asarray(lengths), kind="stable")

    def __call__(self, epoch: int) -> NDArray[np.int64]:
        """Return every row number once."""
        return self.order


class GeneratedFirstOrder:
    """Order of an evaluation: first the rows whose answers are generated, then the others.

    So an evaluation that is limited to a few batches also generates answers, and all ranks generate equally many. The
    rows with generated answers are spread evenly over the source, and are the same in each evaluation.

    Args:
        order: order of the other rows, the same in each epoch.
        generate_examples: maximum number of rows whose answers are generated.
    """

    def __init__(self, order: Order, generate_examples: int) -> None:
        others = order(0)
        count = min(len(others), generate_examples)
        self.generated = np.arange(count) * len(others) // max(1, count)
        """Numbers of the rows whose answers are generated."""
        self.order = np.concatenate([self.generated, others[~np.isin(others, self.generated)]])

    def __call__(self, epoch: int) -> NDArray[np.int64]:
        """Return every row number once."""
        return self.order


class LengthGroupedOrder:
    """Shuffled order whose batches contain rows of similar length. It depends only on the seed and the epoch.

    Args:
        lengths: number of tokens of each row.
        batch: rows per global batch, over all ranks.
        seed: seed of the order.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.batch = batch
        self.seed = seed
        self._cache: tuple[int, NDArray[np.int64]] | None = None

    def __call__(self, epoch: int) -> NDArray[np.int64]:
        """Return every row number once."""
        if self._cache is None or self._cache[0] != epoch:
            self._cache = (epoch, self._compute(epoch))
        return self._cache[1]

    def _compute(self, epoch: int) -> NDArray[np.int64]:
        size = len(self.lengths)
        order = Permutation(size, self.seed, epoch)[np.arange(size)]
        chunk = self.batch * BATCHES_PER_SORT
        for start in range(0, size, chunk):
            part = order[start : start + chunk]
            order[start : start + chunk] = part[np.argsort(self.lengths[part], kind="stable")]
        # The last batch may be smaller, so it stays last.
        num_full = size // self.batch
        batches = Permutation(num_full, self.seed, epoch, 1)[np.arange(num_full)]
        rows = num_full * self.batch
        order[:rows] = order[:rows].reshape(num_full, self.batch)[batches].ravel()
        return order


class InMemoryRows:
    """Implementation of ``loader.Rows`` for rows in memory.

    Args:
        size: number of rows.
        order: function of the epoch that returns its order.
        collate: function of the row numbers and the number of padding rows to append that returns a batch. The loss and
            the metrics must ignore padding rows.
        digest: string that differs for different rows, such as the ``digest`` of their arrays.
        example_ids: ids of the examples in each row, which ``--data.without`` needs; packed rows have several.
    """

    def __init__(
        self,
        size: int,
        order: Order,
        collate: Callable[[list[int], int], Any],
        digest: str,
        example_ids: Sequence[Sequence[str]] | None = None,
    ) -> None:
        self.size, self.order, self.collate, self.digest = size, order, collate, digest
        self.example_ids = example_ids

    def __len__(self) -> int:
        """Return the number of rows of an epoch."""
        return self.size

    def batch(self, epoch: int, indices: NDArray[np.int64], num_padding: int) -> Any:
        """Return the batch of the rows at ``indices`` in the order of the epoch, with ``num_padding`` padding rows."""
        return self.collate(self.order(epoch)[indices].tolist(), num_padding)


def digest(arrays: Iterable[NDArray[Any]]) -> str:
    """Return the SHA-256 hex digest of arrays, their types and their shapes."""
    result = hashlib.sha256()
    for array in arrays:
        result.update(f"{array.dtype} {array.shape} ".encode() + array.tobytes())
    return result.hexdigest()


def pad(rows: Sequence[NDArray[Any]], fill: int) -> Tensor:
    """Stack rows of shape (length, ...) into (B, T, ...), padded on the right with ``fill``."""
    width = max(len(row) for row in rows)
    result = np.full((len(rows), width, *rows[0].shape[1:]), fill, dtype=rows[0].dtype)
    for number, row in enumerate(rows):
        result[number, : len(row)] = row
    return torch.from_numpy(result)


def mask(lengths: Sequence[int]) -> Tensor:
    """Return the (B, T) attention mask: True for the first ``lengths`` tokens of each row."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
