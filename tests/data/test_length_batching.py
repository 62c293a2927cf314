"""Orders that group rows by length: complete, deterministic, and resumable on any number of ranks."""

import itertools
import random

import numpy as np
import pytest
import torch

from gpt_lightning.data.length_batching import (
    BATCHES_PER_SORT,
    GeneratedFirstOrder,
    InMemoryRows,
    LengthGroupedOrder,
    LongestFirstOrder,
    Order,
    SequentialOrder,
    mask,
    pad,
)
from gpt_lightning.data.loader import Position, ResumableLoader

Batch = tuple[list[int], int]


def skewed(number: int) -> list[int]:
    """Return lengths that are mostly short, with some very long ones."""
    return [1 + int(length) for length in np.random.default_rng(0).lognormal(3, 1, number)]


def global_batches(order: Order, number: int, batch: int, epoch: int = 0) -> list[list[int]]:
    rows = order(epoch).tolist()
    return [rows[start : start + batch] for start in range(0, number, batch)]


@pytest.mark.parametrize("batch", [1, 4, 16, 100])
@pytest.mark.parametrize("number", [1, 2, 7, 64, 100, 1001])
def test_every_epoch_reads_each_row_once(number: int, batch: int) -> None:
    order = LengthGroupedOrder(skewed(number), batch, seed=1)
    for epoch in range(5):
        assert sorted(order(epoch).tolist()) == list(range(number))


@pytest.mark.parametrize("generate_examples", [0, 1, 7, 99, 100, 200])
def test_rows_with_generated_answers_come_first_and_are_spread(generate_examples: int) -> None:
    lengths = skewed(100)
    order = GeneratedFirstOrder(LongestFirstOrder(lengths), generate_examples)
    count = min(100, generate_examples)
    rows = order(0).tolist()
    assert sorted(rows) == list(range(100))
    first, rest = rows[:count], rows[count:]
    assert first == order.generated.tolist()
    gaps = [after - before for before, after in itertools.pairwise([*first, 100])]
    assert max(gaps, default=0) - min(gaps, default=0) <= 1
    assert [lengths[row] for row in rest] == sorted((lengths[row] for row in rest), reverse=True)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    lengths = skewed(300)
    order = LengthGroupedOrder(lengths, 8, seed=1)
    expected = {epoch: order(epoch).tolist() for epoch in range(4)}
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    for epoch in (3, 0, 2, 2, 1):
        assert order(epoch).tolist() == expected[epoch]
        assert LengthGroupedOrder(lengths, 8, seed=1)(epoch).tolist() == expected[epoch]


def test_epochs_and_seeds_differ() -> None:
    lengths = skewed(300)
    orders = [LengthGroupedOrder(lengths, 8, seed)(epoch).tolist() for seed in range(4) for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 16


def test_epochs_have_different_batches() -> None:
    number, batch = 2000, 16
    order = LengthGroupedOrder(skewed(number), batch, seed=0)
    first, second = (global_batches(order, number, batch, epoch) for epoch in (0, 1))
    assert not {frozenset(rows) for rows in first} & {frozenset(rows) for rows in second}


def padding(lengths: list[int], rows: list[list[int]]) -> int:
    """Return the number of padding tokens, counted one by one."""
    return sum(
        sum(1 for _ in range(lengths[row], max(lengths[each] for each in batch))) for batch in rows for row in batch
    )


def test_rows_of_similar_length_share_a_batch() -> None:
    number, batch = 2000, 16
    lengths = skewed(number)
    rows = list(range(number))
    random.Random(0).shuffle(rows)
    shuffled = [rows[start : start + batch] for start in range(0, number, batch)]
    for epoch in range(3):
        grouped = global_batches(LengthGroupedOrder(lengths, batch, seed=0), number, batch, epoch)
        assert padding(lengths, grouped) < 0.1 * padding(lengths, shuffled)


def test_short_and_long_batches_are_mixed() -> None:
    number, batch = 2000, 16
    lengths = skewed(number)
    widths = [
        max(lengths[row] for row in rows)
        for rows in global_batches(LengthGroupedOrder(lengths, batch, 0), number, batch)
    ]
    first, second = widths[: len(widths) // 2], widths[len(widths) // 2 :]
    assert min(first) < np.median(widths) < max(first)
    assert min(second) < np.median(widths) < max(second)
    rises = sum(after > before for before, after in itertools.pairwise(widths))
    assert 0.3 < rises / len(widths) < 0.7


@pytest.mark.parametrize("number", [3, 4, 23, 24, 25, 200])
def test_a_smaller_last_batch_stays_last(number: int) -> None:
    batch = 4
    assert number <= batch * BATCHES_PER_SORT
    lengths = list(range(number))
    random.Random(0).shuffle(lengths)
    num_full = number // batch * batch
    for epoch in range(5):
        found = [
            sorted(lengths[row] for row in rows)
            for rows in global_batches(LengthGroupedOrder(lengths, batch, 0), number, batch, epoch)
        ]
        # Batches are formed before they are shuffled: each is a range of the sorted lengths, and only one is smaller.
        assert sorted(found) == [list(range(start, min(start + batch, number))) for start in range(0, number, batch)]
        if num_full < number:
            assert found[-1] == list(range(num_full, number))


def draw(number: int, batch_size: int, *, rank: int = 0, world_size: int = 1, start: Position = (0, 0)) -> list[Batch]:
    """Return the batches that a rank reads in training order."""
    order = LengthGroupedOrder(skewed(number), batch_size * world_size, seed=3)
    rows = InMemoryRows(number, order, lambda chosen, num_padding: (chosen, num_padding), "")
    loader = ResumableLoader(rows, batch_size=batch_size, rank=rank, world_size=world_size, position=lambda: start)
    return list(loader)


@pytest.mark.parametrize("number", [1, 7, 8, 9, 101])
def test_two_ranks_share_the_batches_of_one(number: int) -> None:
    for epoch in range(3):
        one = draw(number, 8, start=(epoch, 0))
        first, second = (draw(number, 4, rank=rank, world_size=2, start=(epoch, 0)) for rank in (0, 1))
        assert sorted(row for rows, _ in one for row in rows) == list(range(number))
        assert [a + b for (a, _), (b, _) in zip(first, second, strict=True)] == [rows for rows, _ in one]
        assert all(len(a) + pad_a == len(b) + pad_b for (a, pad_a), (b, pad_b) in zip(first, second, strict=True))


@pytest.mark.parametrize("world_size", [1, 2])
def test_training_resumes_at_any_batch(world_size: int) -> None:
    for rank in range(world_size):
        for epoch in (0, 2):
            complete = draw(50, 4, rank=rank, world_size=world_size, start=(epoch, 0))
            for index in range(len(complete) + 1):
                resumed = draw(50, 4, rank=rank, world_size=world_size, start=(epoch, index))
                assert resumed == complete[index:]


def test_longest_first_keeps_the_order_of_equal_lengths() -> None:
    order = LongestFirstOrder([3, 9, 1, 9, 3])
    assert order(0).tolist() == order(7).tolist() == [1, 3, 0, 4, 2]


def test_sequential_order() -> None:
    order = SequentialOrder(4)
    assert order(0).tolist() == order(7).tolist() == [0, 1, 2, 3]


def test_batches_follow_the_order_of_their_epoch() -> None:
    orders = ([0, 1, 2], [2, 0, 1])
    rows = InMemoryRows(3, lambda epoch: np.array(orders[epoch]), lambda *arguments: arguments, "")
    assert len(rows) == 3
    assert rows.batch(0, np.array([1, 2]), 0) == ([1, 2], 0)
    assert rows.batch(1, np.array([0, 2]), 5) == ([2, 1], 5)
    assert rows.batch(1, np.array([], dtype=np.int64), 1) == ([], 1)


def test_rows_are_padded_on_the_right() -> None:
    padded = pad([np.array([1, 2, 3]), np.array([4]), np.array([], dtype=np.int64)], -100)
    assert padded.tolist() == [[1, 2, 3], [4, -100, -100], [-100, -100, -100]]
    assert padded.dtype == torch.int64
    flags = pad([np.array([True]), np.array([True, True])], False)
    assert flags.tolist() == [[True, False], [True, True]]
    assert flags.dtype == torch.bool
    pairs = pad([np.array([[1, 2]]), np.array([[3, 4], [5, 6]])], 0)
    assert pairs.tolist() == [[[1, 2], [0, 0]], [[3, 4], [5, 6]]]


def test_the_mask_is_false_for_padding() -> None:
    attention_mask = mask([1, 3, 0])
    assert attention_mask.tolist() == [[True, False, False], [True, True, True], [False, False, False]]
    assert attention_mask.dtype == torch.bool
