"""Bootstrap confidence intervals of scores that are functions of sums over rows (Efron 1979).

A resample of the rows changes the score only through how often each row is drawn. Rows with equal statistics are
drawn as one group, so an interval of an accuracy takes the same time for any number of rows. If more rows differ than a
limit, random groups of equal size are drawn in their place; their sums vary as much as those of single rows.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

# N rows, G groups of equal rows, K statistics, D draws
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Score = Callable[[Floats], Floats]
"""Function from sums over rows, (..., K), to scores, (...)."""

MAX_GROUPS: Final = 5_000
"""Number of groups that are drawn at most."""
_CHUNK_COUNTS: Final = 4_000_000
"""Number of counts that are drawn at once, to bound memory."""


def bootstrap_interval(
    statistics_NK: Floats, score: Score, *, seed: int = 0, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Return the lower and upper end of a percentile bootstrap interval.

    Args:
        statistics_NK: statistics of each row, such as 1 or 0 for a correct or wrong prediction, and 1 for the row.
        score: score of summed statistics. Resamples without a score, such as 0 / 0, are left out.
        seed: seed of the resamples, so that the interval of the same rows is always the same.
        draws: number of resamples.
        level: confidence level.

    Returns:
        Both ends; NaN without rows, or if no resample has a score.
    """
    scores = _resampled_scores(np.asarray(statistics_NK, dtype=np.float64), score, seed, draws)
    defined = scores[~np.isnan(scores)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def difference_interval(
    first_NK: Floats, second_NK: Floats, score: Score, *, seed: int = 0, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of the difference of two models' scores, first minus second.

    Each resample draws the same rows for both, so that rows which are hard for both models do not widen the interval.

    Args:
        first_NK: statistics of each row for the first model.
        second_NK: statistics of the same rows for the second model.
        score: score of summed statistics.
        seed: seed of the resamples.
        draws: number of resamples.
        level: confidence level.
    """
    size = first_NK.shape[1]

    def difference(sums: Floats) -> Floats:
        return score(sums[..., :size]) - score(sums[..., size:])

    both = np.concatenate([first_NK, second_NK], axis=1)
    return bootstrap_interval(both, difference, seed=seed, draws=draws, level=level)


def score_of(statistics_NK: Floats, score: Score) -> float:
    """Return the score of all rows; NaN if it is undefined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(score(np.asarray(statistics_NK, dtype=np.float64).sum(axis=0)))


def _resampled_scores(statistics_NK: Floats, score: Score, seed: int, draws: int) -> Floats:
    """Return the scores of resamples of the rows, (D,)."""
    num_rows = len(statistics_NK)
    if not num_rows:
        return np.full(draws, np.nan)
    generator = np.random.default_rng(seed)
    groups_GK, counts_G = np.unique(statistics_NK, axis=0, return_counts=True)
    if len(groups_GK) > MAX_GROUPS:
        sorted_NK = np.repeat(groups_GK, counts_G, axis=0)  # the result must not depend on the order of the rows
        borders = np.arange(MAX_GROUPS) * num_rows // MAX_GROUPS
        groups_GK = np.add.reduceat(generator.permutation(sorted_NK), borders)
        counts_G = np.ones(MAX_GROUPS, dtype=counts_G.dtype)
    size = max(1, _CHUNK_COUNTS // len(groups_GK))
    chunks = []
    for start in range(0, draws, size):
        drawn_DG = _drawn_counts(generator, counts_G, min(size, draws - start))
        with np.errstate(divide="ignore", invalid="ignore"):
            chunks.append(np.asarray(score(drawn_DG @ groups_GK), dtype=np.float64))
    return np.concatenate(chunks)


def _drawn_counts(generator: np.random.Generator, counts_G: Counts, draws: int) -> Counts:
    """Return how often each group is drawn in resamples of all rows, (D, G)."""
    num_groups, num_rows = len(counts_G), int(counts_G.sum())
    if num_rows > num_groups:
        return generator.multinomial(num_rows, counts_G / num_rows, size=draws)
    # Groups of a single row are drawn one by one, which is many times faster than a multinomial of many groups.
    drawn_DG = generator.integers(num_groups, size=(draws, num_groups))
    drawn_DG += num_groups * np.arange(draws)[:, None]
    return np.bincount(drawn_DG.ravel(), minlength=draws * num_groups).reshape(draws, num_groups)
