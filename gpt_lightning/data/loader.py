"""Data loader that can start at any batch of any epoch."""

from collections.abc import Callable, Iterator, Mapping, Sized
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from gpt_lightning.data import workers

Position = tuple[int, int]
"""(epoch, batch in that epoch), both counted from 0."""


class Rows(Sized, Protocol):
    """Rows of a split. An epoch reads each row once, in an order that depends only on the epoch."""

    @property
    def digest(self) -> str:
        """String that differs for different rows."""

    def batch(self, epoch: int, indices: NDArray[np.int64], num_padding: int) -> Any:
        """Return the batch of the rows at ``indices`` in the order of the epoch, with ``num_padding`` padding rows.

        Padding rows give the batches of all ranks the same size. The loss and the metrics must ignore them.
        """


class ResumableLoader:
    """Data loader that shares the rows of each epoch among the ranks and starts at any position.

    The loader has no state: each iteration calls ``position`` to know where to start. Batches that workers prefetched,
    or that an exception lost, therefore cannot shift the order.

    A global batch is ``batch_size * world_size`` consecutive rows in the order of the epoch. The last one may be
    smaller: each rank gets an equal share, filled up with padding rows. No row is lost or read twice, and all ranks
    have the same number of batches.

    Args:
        rows: rows to read.
        batch_size: rows per batch on one rank.
        position: function that returns the (epoch, batch) to start at; each iteration calls it once.
        rank: rank of this process.
        world_size: number of processes that share the rows.
        num_workers: processes that prefetch batches; 0 uses this process.
        pin_memory: whether batches are in pinned memory.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        batch_size: int,
        position: Callable[[], Position] = lambda: (0, 0),
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self._batches = _Batches(rows, batch_size, rank, world_size)
        self._position = position
        self._sampler = _Positions()
        # Workers are not persistent: the garbage collector would wait five seconds for each.
        self._loader: DataLoader[Any] = DataLoader(
            self._batches,
            batch_size=None,
            sampler=self._sampler,
            num_workers=num_workers,
            pin_memory=pin_memory,
            timeout=workers.CHECK_INTERVAL_S if num_workers else 0.0,
            collate_fn=_identity,
        )

    def __len__(self) -> int:
        """Return the number of batches of one epoch on each rank."""
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of the epoch, starting at the position."""
        epoch, start = self._position()
        self._sampler.positions = [(epoch, index) for index in range(start, len(self))]
        yield from workers.batches(self._loader) if self._loader.num_workers else self._loader

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state. Lightning resumes loaders that have this method."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Do nothing, because the loader has no state."""


class _Batches(Dataset[Any]):
    """Map-style dataset from a position to the batch of this rank."""

    def __init__(self, rows: Rows, batch_size: int, rank: int, world_size: int) -> None:
        self.rows, self.batch_size, self.rank, self.world_size = rows, batch_size, rank, world_size

    def __len__(self) -> int:
        return -(-len(self.rows) // (self.batch_size * self.world_size))

    def __getitem__(self, position: Position) -> Any:
        epoch, index = position
        first = index * self.batch_size * self.world_size
        rows = min(self.batch_size * self.world_size, len(self.rows) - first)
        share = -(-rows // self.world_size)
        start, stop = (min(rows, share * rank) for rank in (self.rank, self.rank + 1))
        return self.rows.batch(epoch, np.arange(first + start, first + stop), share - (stop - start))


def _identity(batch: Any) -> Any:
    """Return the batch unchanged; torch's default conversion would replace tuples by lists."""
    return batch


class _Positions(Sampler[Position]):
    """Sampler of the positions of one iteration."""

    def __init__(self) -> None:
        self.positions: list[Position] = []

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Position]:
        return iter(self.positions)
