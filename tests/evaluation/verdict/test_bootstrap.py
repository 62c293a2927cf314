"""Bootstrap intervals, compared with scipy and with simulations."""

from typing import Any

import numpy as np
import pytest
import scipy.stats  # type: ignore[import-untyped]

from gpt_lightning.evaluation.verdict.bootstrap import Floats, bootstrap_interval, difference_interval, score_of


def accuracy(sums: Floats) -> Floats:
    quotient: Floats = sums[..., 0] / sums[..., 1]
    return quotient


def rows(correct: Any) -> Floats:
    correct = np.asarray(correct, dtype=np.float64)
    return np.stack([correct, np.ones_like(correct)], axis=1)


def test_coverage_is_near_its_level() -> None:
    generator = np.random.default_rng(1)
    trials = [bootstrap_interval(rows(generator.random(300) < 0.8), accuracy, draws=400) for _ in range(600)]
    covered = np.mean([low <= 0.8 <= high for low, high in trials])
    # The standard error of 600 trials is 0.9 points.
    assert 0.92 < covered < 0.98


def test_intervals_equal_those_of_scipy() -> None:
    values = np.random.default_rng(2).gamma(2.0, size=250)
    ours = bootstrap_interval(np.stack([values, np.ones_like(values)], axis=1), accuracy, draws=20_000)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", vectorized=True, rng=np.random.default_rng(3)
    ).confidence_interval
    width = expected.high - expected.low
    assert ours == pytest.approx((expected.low, expected.high), abs=0.02 * width)


def test_grouped_rows_have_the_interval_of_single_rows() -> None:
    values = np.repeat([0.0, 1.0, 1.0], 100)
    nearly = values + np.random.default_rng(4).normal(size=300) * 1e-9  # no two rows are equal
    grouped = bootstrap_interval(rows(values), accuracy, draws=20_000)
    assert grouped == pytest.approx(bootstrap_interval(rows(nearly), accuracy, draws=20_000), abs=0.005)


def test_the_paired_difference_is_narrower_than_the_unpaired_one() -> None:
    generator = np.random.default_rng(5)
    first = generator.random(400) < 0.7
    second = np.where(generator.random(400) < 0.9, first, ~first)  # agrees on nine of ten rows
    low, high = difference_interval(rows(first), rows(second), accuracy)
    shuffled_low, shuffled_high = difference_interval(rows(first), rows(generator.permutation(second)), accuracy)
    assert high - low < 0.7 * (shuffled_high - shuffled_low)
    assert low < first.mean() - second.mean() < high


def test_the_difference_of_a_model_with_itself_is_zero() -> None:
    assert difference_interval(rows([1, 0, 1]), rows([1, 0, 1]), accuracy) == (0.0, 0.0)


def test_intervals_are_the_same_in_each_call_and_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = rows(np.random.default_rng(6).random(50))
    expected = bootstrap_interval(statistics, accuracy)
    monkeypatch.setattr("gpt_lightning.evaluation.verdict.bootstrap._CHUNK_COUNTS", 120)
    assert bootstrap_interval(statistics, accuracy) == pytest.approx(expected)


def test_many_different_rows_are_drawn_in_random_groups() -> None:
    """The interval is that of the normal approximation."""
    values = np.random.default_rng(7).normal(size=33_333)
    low, high = bootstrap_interval(rows(values), accuracy)
    error = 1.96 * values.std() / len(values) ** 0.5
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.2 * error)
    assert bootstrap_interval(rows(values[::-1]), accuracy) == (low, high)


def test_undefined_scores_give_no_interval() -> None:
    nothing = np.zeros((3, 2))
    assert all(np.isnan(bootstrap_interval(nothing, accuracy)))
    assert all(np.isnan(bootstrap_interval(np.zeros((0, 2)), accuracy)))
    assert np.isnan(score_of(nothing, accuracy))


def test_resamples_without_a_score_are_left_out() -> None:
    # Half of the resamples of these two rows draw only one of them; those with only the first have no score.
    low, high = bootstrap_interval(np.array([[0.0, 0.0], [1.0, 1.0]]), accuracy)
    assert (low, high) == (1.0, 1.0)
