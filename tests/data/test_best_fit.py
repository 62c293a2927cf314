"""Best-fit packing, compared with a direct search for the row with the least sufficient space."""

import random
from collections.abc import Sequence

import pytest

from gpt_lightning.data.best_fit import best_fit


def reference(lengths: Sequence[int], capacity: int) -> list[int]:
    """Return the free space of each row after best-fit decreasing, in sorted order."""
    spaces: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [space for space in spaces if space >= length]
        if fitting:
            spaces.remove(min(fitting))
            spaces.append(min(fitting) - length)
        else:
            spaces.append(capacity - length)
    return sorted(spaces)


@pytest.mark.parametrize("count", [0, 1, 2, 50, 300])
@pytest.mark.parametrize("capacity", [1, 7, 64])
def test_rows_are_those_of_a_direct_search(count: int, capacity: int) -> None:
    random.seed(count)
    lengths = [random.randint(1, capacity) for _ in range(count)]
    rows = best_fit(lengths, capacity)
    assert sorted(number for row in rows for number in row) == list(range(count))
    assert sorted(capacity - sum(lengths[number] for number in row) for row in rows) == reference(lengths, capacity)


def test_equal_lengths_keep_their_order() -> None:
    assert best_fit([2, 2, 2, 2], 4) == [[0, 1], [2, 3]]
