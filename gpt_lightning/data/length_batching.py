"""Rows that fit in memory: the order they are drawn in, and how they become a batch."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt_lightning.data.permutation import Permutation

BATCHES_A_SORT: Final = 50
"""Training rows are sorted by length among so many batches' worth at a time: little padding, and much chance left."""

Order = Callable[[int], NDArray[np.int64]]
"""Epoch -> the order of its rows."""


class InOrder:
    """The rows as they come."""

    def __init__(self, size: int) -> None:
        self.order = np.arange(size)

    def __call__(self, epoch: int) -> NDArray[np.int64]:
        """All rows, each once."""
        return self.order


class LongestFirst:
    """By length, so that little is padded, the longest first, so that what does not fit in memory shows at once."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.order = np.argsort(-np.asarray(lengths), kind="stable")

    def __call__(self, epoch: int) -> NDArray[np.int64]:
        """All rows, each once."""
        return self.order


class ByLength:
    """A shuffled order in which the rows of a batch are of like length; a function of (seed, epoch).

    Args:
        lengths: of the rows, in tokens.
        batch: rows of a global batch, over all ranks.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.batch = batch
        self.seed = seed
        self._kept: tuple[int, NDArray[np.int64]] | None = None

    def __call__(self, epoch: int) -> NDArray[np.int64]:
        """All rows, each once."""
        if self._kept is None or self._kept[0] != epoch:
            self._kept = (epoch, self._make(epoch))
        return self._kept[1]

    def _make(self, epoch: int) -> NDArray[np.int64]:
        size = len(self.lengths)
        order = Permutation(size, self.seed, epoch)[np.arange(size)]
        chunk = self.batch * BATCHES_A_SORT
        for start in range(0, size, chunk):
            part = order[start : start + chunk]
            order[start : start + chunk] = part[np.argsort(self.lengths[part], kind="stable")]
        # The last batch may be smaller, and stays where it is.
        whole = size // self.batch
        batches = Permutation(whole, self.seed, epoch, 1)[np.arange(whole)]
        order[: whole * self.batch] = order[: whole * self.batch].reshape(whole, self.batch)[batches].ravel()
        return order


class InMemory:
    """Rows that are drawn in an ``Order`` and put together by a function; see ``loader.Rows``.

    Args:
        size: how many.
        order: of each epoch.
        collate: (numbers of rows, how many rows of padding) -> batch.
        digest: another one for other rows.
    """

    def __init__(self, size: int, order: Order, collate: Callable[[list[int], int], Any], digest: str) -> None:
        self.size, self.order, self.collate, self.digest = size, order, collate, digest

    def __len__(self) -> int:
        """Rows of an epoch."""
        return self.size

    def batch(self, epoch: int, indices: NDArray[np.int64], num_padding: int) -> Any:
        """The rows at ``indices`` of ``epoch``'s order, and ``num_padding`` rows that no loss and no metric sees."""
        return self.collate(self.order(epoch)[indices].tolist(), num_padding)


def digest(arrays: Iterable[NDArray[Any]]) -> str:
    """The sha256 of arrays one after another, and of where each ends."""
    result = hashlib.sha256()
    for array in arrays:
        result.update(f"{array.dtype} {array.shape} ".encode() + array.tobytes())
    return result.hexdigest()


def pad(rows: Sequence[NDArray[Any]], fill: int) -> Tensor:
    """(B, T, ...) of the rows' type: rows of (length, ...) side by side, filled up on the right."""
    width = max(len(row) for row in rows)
    result = np.full((len(rows), width, *rows[0].shape[1:]), fill, dtype=rows[0].dtype)
    for number, row in enumerate(rows):
        result[number, : len(row)] = row
    return torch.from_numpy(result)


def mask(lengths: Sequence[int]) -> Tensor:
    """(B, T) bool: True for the first ``lengths`` of each row."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
