"""Calibration of classifiers: expected calibration error, reliability, temperature scaling.

Guo et al. 2017, "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gpt_lightning.metrics.curves import CONFIDENCE_BINS

# N rows, L labels
Floats = NDArray[np.float64]

_TEMPERATURES: Final = (0.01, 100.0)
"""Range in which a temperature is searched. A perfect classifier of the validation rows has none, as its is 0."""


@dataclass(frozen=True)
class Reliability:
    """Confidence and accuracy in bins of equal width; a bin contains its upper edge.

    Attributes:
        error: expected calibration error: the mean difference of confidence and accuracy of the bins, weighted by
            their rows.
        counts: number of rows in each bin.
        confidences: mean confidence of the rows of each bin; None for an empty bin.
        accuracies: share of correct rows of each bin; None for an empty bin.
    """

    error: float
    counts: list[int]
    confidences: list[float | None]
    accuracies: list[float | None]


def reliability(confidences_N: Floats, correct_N: Floats, num_bins: int = CONFIDENCE_BINS) -> Reliability:
    """Return the calibration of predicted labels.

    Args:
        confidences_N: probability of the predicted label of each row.
        correct_N: 1 for rows whose predicted label is correct, else 0.
        num_bins: number of bins.
    """
    edges = np.linspace(0.0, 1.0, num_bins + 1)[1:-1]
    bins_N = np.searchsorted(edges, confidences_N, side="left")
    counts = np.bincount(bins_N, minlength=num_bins)
    sums = np.bincount(bins_N, confidences_N, num_bins), np.bincount(bins_N, correct_N, num_bins)
    error = np.abs(sums[0] - sums[1]).sum() / len(confidences_N)
    means = [[float(total / n) if n else None for total, n in zip(each, counts, strict=True)] for each in sums]
    return Reliability(float(error), counts.tolist(), means[0], means[1])


def fit_temperature(logits_NL: Tensor, labels_N: Tensor) -> float:
    """Return the temperature T for which softmax(logits / T) has the lowest mean negative log-likelihood.

    The likelihood has a single maximum over 1 / T, which a golden-section search finds.

    Args:
        logits_NL: logits of validation rows.
        labels_N: (N,) int64, their labels.
    """
    logits_NL = logits_NL.double()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(logits_NL / math.exp(log_temperature), labels_N))

    low, high = map(math.log, _TEMPERATURES)
    shrink = (math.sqrt(5.0) - 1.0) / 2.0
    points = [high - shrink * (high - low), low + shrink * (high - low)]
    losses = [loss(point) for point in points]
    while high - low > 1e-6:
        if losses[0] <= losses[1]:
            high, points[1], losses[1] = points[1], points[0], losses[0]
            points[0] = high - shrink * (high - low)
            losses[0] = loss(points[0])
        else:
            low, points[0], losses[0] = points[0], points[1], losses[1]
            points[1] = low + shrink * (high - low)
            losses[1] = loss(points[1])
    return math.exp((low + high) / 2.0)
