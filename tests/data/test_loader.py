"""Rows are shared out to the ranks whole, and taken up again anywhere."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpt_lightning.data.loader import Position, ResumableLoader

Batch = tuple[int, list[int], int]


class Rows:
    """Rows that are their own numbers."""

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
    ranks: list[list[Batch]] = [list(one) for one in loaders]
    assert {len(rank) for rank in ranks} == {len(one) for one in loaders}, "no rank waits for another"
    assert len(ranks[0]) == -(-number // (batch_size * world_size))
    seen = []
    for step in zip(*ranks, strict=True):
        assert len({len(indices) + padding for _, indices, padding in step}) == 1, "shares are equal"
        assert len(step[0][1]) <= batch_size
        assert sum(padding for _, _, padding in step) < world_size
        seen += [index for _, indices, _ in step for index in indices]
    # In the order of one process: global batches do not depend on how many share them.
    assert seen == list(range(number))


def positions(*values: Position) -> Iterator[Position]:
    return iter(values)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_any_position_resumes_to_the_rest(num_workers: int) -> None:
    starts: list[Position] = [(0, 0), (0, 4), (3, 0), (3, 1), (3, 5), (3, 6), (4, 2)]
    asked = positions(*starts)
    one = loader(23, 4, position=lambda: next(asked), num_workers=num_workers)
    whole = [indices for _, indices, _ in loader(23, 4)]
    for epoch, start in starts:  # one after the other from the same loader, whose workers persist
        assert [(e, indices) for e, indices, _ in one] == [(epoch, indices) for indices in whole[start:]]
    assert len(one) == 6


@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_was_fetched_ahead_is_not_counted(num_workers: int) -> None:
    asked = positions((0, 0), (0, 2))
    one = loader(23, 4, position=lambda: next(asked), num_workers=num_workers)
    iterator = iter(one)
    assert [next(iterator)[1][0] for _ in range(2)] == [0, 4]
    del iterator  # an exception, say, after two of six batches
    assert [batch[1][0] for batch in one] == [8, 12, 16, 20]


def test_the_position_is_asked_when_the_first_batch_is() -> None:
    asked: list[Position] = []

    def position() -> Position:
        asked.append((0, 0))
        return 0, 0

    one = loader(position=position)
    iterator = iter(one)
    assert not asked
    next(iterator)
    next(iterator)
    assert len(asked) == 1


def test_a_checkpoint_holds_nothing_of_it() -> None:
    one = loader()
    assert one.state_dict() == {}
    one.load_state_dict({})
    assert len(list(one)) == 6


def test_torchs_random_numbers_have_no_part_in_it() -> None:
    torch.manual_seed(0)
    first = list(loader())
    torch.manual_seed(1)
    assert list(loader()) == first
