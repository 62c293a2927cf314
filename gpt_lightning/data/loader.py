"""Batches in an order that can be taken up again anywhere."""

from collections.abc import Callable, Iterator, Mapping, Sized
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

Position = tuple[int, int]
"""(epoch, batch of that epoch), both from 0."""


class Rows(Sized, Protocol):
    """What a loader draws from: the rows of an epoch, in that epoch's order."""

    @property
    def digest(self) -> str:
        """Another one for other rows."""

    def batch(self, epoch: int, indices: NDArray[np.int64], num_padding: int) -> Any:
        """The rows at ``indices`` of ``epoch``'s order, and ``num_padding`` rows that no loss and no metric sees."""


class ResumableLoader:
    """Shares the rows of each epoch out to the ranks, batch after batch, from any position on.

    It keeps no count of its own: where to start is asked when an epoch's first batch is. What workers have fetched
    ahead, or a batch that was lost to an exception, can therefore not shift the order.

    A global batch is ``batch_size * world_size`` consecutive rows of the epoch's order. Of the last, smaller one each
    rank gets an equal share, filled up with padding rows where it does not divide: no row is lost or seen twice, and
    no rank waits for another.

    Args:
        rows: what to draw from.
        batch_size: rows of a batch on one rank.
        position: where to start, asked at the start of each iteration.
        rank: this process among ``world_size``.
        world_size: processes that share the rows.
        num_workers: processes that fetch ahead; 0 fetches in this one.
        pin_memory: hand batches over in memory that a GPU copies from at once.
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
        self._keys = _Keys()
        # Workers end with their epoch. Persistent ones are left to the garbage collector, which then waits for each of
        # them for five seconds.
        self._loader: DataLoader[Any] = DataLoader(
            self._batches,
            batch_size=None,
            sampler=self._keys,
            num_workers=num_workers,
            pin_memory=pin_memory,
            collate_fn=_as_it_is,
        )

    def __len__(self) -> int:
        """Batches of one whole epoch, on each rank."""
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        """The rest of the epoch from the position on."""
        epoch, start = self._position()
        self._keys.positions = [(epoch, index) for index in range(start, len(self))]
        yield from self._loader

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the trainer's progress is the position. That the method exists tells Lightning that it resumes."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Nothing to load."""


class _Batches(Dataset[Any]):
    """Position -> this rank's batch."""

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


def _as_it_is(batch: Any) -> Any:
    """Batches come ready; torch's own conversion would turn tuples into lists."""
    return batch


class _Keys(Sampler[Position]):
    """The positions of one iteration, set anew before each."""

    def __init__(self) -> None:
        self.positions: list[Position] = []

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Position]:
        return iter(self.positions)
