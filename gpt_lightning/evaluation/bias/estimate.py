"""Means with bootstrap intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpt_lightning.evaluation.verdict.bootstrap import Floats, bootstrap_interval


@dataclass(frozen=True)
class Estimate:
    """Mean over rows with its 95 % bootstrap interval; NaN without rows."""

    value: float
    low: float
    high: float
    num_rows: int

    def __str__(self) -> str:
        """Return the mean and the interval, such as ``0.512 [0.490, 0.534]``; a dash without rows."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]" if self.num_rows else "-"


def mean_of(values: Sequence[float]) -> Estimate:
    """Return the mean of one value for each row, with its interval."""
    if not values:
        return Estimate(math.nan, math.nan, math.nan, 0)
    values_N = np.array(values, dtype=np.float64)
    low, high = bootstrap_interval(np.stack([values_N, np.ones_like(values_N)], axis=1), _mean)
    return Estimate(float(values_N.mean()), low, high, len(values_N))


def _mean(sums: Floats) -> Floats:
    quotient: Floats = sums[..., 0] / sums[..., 1]
    return quotient
