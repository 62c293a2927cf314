"""Resumable loader: shares of the ranks, and iteration from any position."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpt_lightning.data.loader import Position, ResumableLoader

Batch = tuple[int, list[int], int]


class Rows:
    """Rows that are their numbers."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.digest = str(number)

    def __len__(self) -> int:
        return self.number

    def batch(self, epoch: int, indices: NDArray[np.int64], num_padding: int) -> Batch:
        assert all(0 <= index < self.number for index in indices)
        return epoch, indices.tolist(), num_padding


def loader(number: int = 23, batch_size: int = 4, **arguments: Any) -> ResumableLoader:
    return ResumableLoader(Rows(number), batch_size=batch_size, **arguments)


def test_one_process_reads_the_rows_in_order() -> None:
    batches = [tuple(batch) for batch in loader(10, 4)]
    assert batches == [(0, [0, 1, 2, 3], 0), (0, [4, 5, 6, 7], 0), (0, [8, 9], 0)]
    assert len(loader(10, 4)) == 3


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("number", [1, 2, 7, 8, 9, 23, 24, 25, 64])
def test_ranks_share_rows_without_overlap_or_loss(number: int, batch_size: int, world_size: int) -> None:
    loaders = [loader(number, batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    ranks: list[list[Batch]] = [list(each) for each in loaders]
    assert {len(rank) for rank in ranks} == {len(each) for each in loaders}, "all ranks have as many batches"
    assert len(ranks[0]) == -(-number // (batch_size * world_size))
    seen = []
    for step in zip(*ranks, strict=True):
        assert len({len(indices) + padding for _, indices, padding in step}) == 1, "shares are equal"
        assert len(step[0][1]) <= batch_size
        assert sum(padding for _, _, padding in step) < world_size
        seen += [index for _, indices, _ in step for index in indices]
    # The order is that of one process: global batches do not depend on the number of ranks.
    assert seen == list(range(number))


def positions(*values: Position) -> Iterator[Position]:
    return iter(values)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_iteration_starts_at_any_position(num_workers: int) -> None:
    starts: list[Position] = [(0, 0), (0, 4), (3, 0), (3, 1), (3, 5), (3, 6), (4, 2)]
    remaining = positions(*starts)
    resumable = loader(23, 4, position=lambda: next(remaining), num_workers=num_workers)
    epoch_batches = [indices for _, indices, _ in loader(23, 4)]
    for epoch, start in starts:  # all from the same loader
        assert [(e, indices) for e, indices, _ in resumable] == [(epoch, indices) for indices in epoch_batches[start:]]
    assert len(resumable) == 6


@pytest.mark.parametrize("num_workers", [0, 2])
def test_prefetched_batches_are_not_counted(num_workers: int) -> None:
    remaining = positions((0, 0), (0, 2))
    resumable = loader(23, 4, position=lambda: next(remaining), num_workers=num_workers)
    iterator = iter(resumable)
    assert [next(iterator)[1][0] for _ in range(2)] == [0, 4]
    del iterator  # as after an exception, with two of six batches read
    assert [batch[1][0] for batch in resumable] == [8, 12, 16, 20]


def test_the_position_is_read_with_the_first_batch() -> None:
    calls: list[Position] = []

    def position() -> Position:
        calls.append((0, 0))
        return 0, 0

    iterator = iter(loader(position=position))
    assert not calls
    next(iterator)
    next(iterator)
    assert len(calls) == 1


def test_the_loader_has_no_state() -> None:
    resumable = loader()
    assert resumable.state_dict() == {}
    resumable.load_state_dict({})
    assert len(list(resumable)) == 6


def test_torchs_random_numbers_have_no_effect() -> None:
    torch.manual_seed(0)
    first = list(loader())
    torch.manual_seed(1)
    assert list(loader()) == first
