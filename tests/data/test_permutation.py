"""Computed permutations: valid, deterministic, statistically random, and in constant memory."""

import tracemalloc

import numpy as np
import pytest

from gpt_lightning.data.permutation import Permutation


def order(size: int, *key: int) -> list[int]:
    result: list[int] = Permutation(size, *key)[np.arange(size)].tolist()
    return result


def test_every_number_occurs_once() -> None:
    for size in [*range(1, 70), 127, 128, 129, 255, 1023, 1025, 4096, 4097, 65_537, 100_003]:
        for key in ((0, 0), (1, 2, 3)):
            result = Permutation(size, *key)[np.arange(size)]
            assert np.array_equal(np.sort(result), np.arange(size)), size


def test_it_depends_only_on_the_key() -> None:
    orders = {key: tuple(order(1000, *key)) for key in [(0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (2**70,), (-1,)]}
    assert len(set(orders.values())) == len(orders)
    # Neither the number of indices nor earlier calls matter, and the indices are not modified.
    permutation, indices = Permutation(1000, 0, 1), np.array([999, 3, 3])
    assert permutation[indices].tolist() == [orders[0, 1][999], orders[0, 1][3], orders[0, 1][3]]
    assert indices.tolist() == [999, 3, 3]
    assert permutation[np.empty(0, dtype=np.int64)].tolist() == []
    # These values are fixed: every checkpoint must resume with the same rows, on any machine and in any version.
    assert order(10, 0, 1) == [0, 4, 8, 9, 7, 2, 6, 5, 3, 1]
    assert Permutation(10**12, 5)[np.arange(3)].tolist() == [744277848137, 997412150960, 478285716294]


@pytest.mark.parametrize("size", [2, 3, 5, 8, 17])
def test_each_number_is_at_each_position_equally_often(size: int) -> None:
    keys = 2000
    counts = np.zeros((size, size))
    for key in range(keys):
        counts[np.arange(size), order(size, 7, key)] += 1
    chi_square = ((counts - keys / size) ** 2 / (keys / size)).sum()
    degrees_of_freedom = (size - 1) ** 2
    # The limit is four standard deviations above the mean of a chi-squared distribution.
    assert chi_square < degrees_of_freedom + 4 * (2 * degrees_of_freedom) ** 0.5


@pytest.mark.parametrize("key", range(5))
def test_it_passes_tests_of_randomness(key: int) -> None:
    size = 20_000
    result = np.array(order(size, key))
    uncertainty = size**-0.5
    assert abs(np.corrcoef(np.arange(size), result)[0, 1]) < 4 * uncertainty
    assert abs(np.corrcoef(result[:-1], result[1:])[0, 1]) < 4 * uncertainty  # neighbors
    assert abs(np.corrcoef(result, order(size, key + 1))[0, 1]) < 4 * uncertainty  # two epochs
    assert (result == np.arange(size)).sum() < 8  # one is expected
    assert abs((np.diff(result) > 0).mean() - 0.5) < 4 * uncertainty
    low_bits = result[: size // 2] % 2  # the first half of an epoch has about as many odd as even blocks
    assert abs(low_bits.mean() - 0.5) < 4 * uncertainty


@pytest.mark.parametrize("size", [10**9, 2**40, 2**40 + 1, 2**62])
def test_memory_does_not_grow_with_the_size(size: int) -> None:
    tracemalloc.start()
    try:
        indices = np.arange(1000) * (size // 1000)
        result = Permutation(size, 3)[indices]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000
    assert len(set(result.tolist())) == 1000
    assert result.min() >= 0
    assert result.max() < size
    assert abs(result.astype(float).mean() / size - 0.5) < 4 * 12**-0.5 * 1000**-0.5
