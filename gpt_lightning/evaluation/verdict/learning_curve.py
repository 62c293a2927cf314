"""Learning curve of a baseline on thirds of the training rows, and the score that twice the rows would likely bring."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpt_lightning.evaluation.verdict.bootstrap import Floats, bootstrap_interval, score_of
from gpt_lightning.metrics.row_statistics import Columns, RowScore

NUM_PARTS: Final = 3


@dataclass(frozen=True)
class LearningCurve:
    """Scores of TF-IDF by the number of training rows, and their extrapolation.

    Attributes:
        rows: one third, two thirds and all of the training rows.
        scores: the scores.
        gain: expected change of the score with twice all rows.
        interval: 95 % interval of ``gain`` over the choice of test rows.
    """

    rows: list[int]
    scores: list[float]
    gain: float
    interval: tuple[float, float]


def learning_curve(score: RowScore, sizes: Sequence[int], columns: Sequence[Columns]) -> LearningCurve:
    """Return the learning curve of a score, extrapolated by a power law.

    The error, 1 minus a share or the mean squared error, follows ``a * rows ** -b``, a line in logarithms, fitted by
    least squares (Hestness et al. 2017, arXiv:1712.00409).

    Args:
        score: the score.
        sizes: number of training rows behind each of ``columns``.
        columns: statistics of the same test rows.
    """
    parts = [score.of(each) for each in columns]
    size = parts[0].shape[1]
    logs = np.log(np.asarray(sizes, dtype=np.float64))
    centered = logs - logs.mean()

    def scores_of(sums: Floats) -> Floats:
        each = [score.formula(sums[..., start : start + size]) for start in range(0, size * len(parts), size)]
        return np.stack(each, axis=-1)

    def gain(sums: Floats) -> Floats:
        scores = scores_of(sums)
        errors = np.log(np.maximum(1.0 - scores if score.higher_is_better else scores, 1e-12))
        slopes = (errors * centered).sum(-1) / (centered**2).sum()
        change = np.exp(errors.mean(-1) + slopes * (logs[-1] + np.log(2.0) - logs.mean()))
        change = change - np.exp(errors.mean(-1) + slopes * (logs[-1] - logs.mean()))
        result: Floats = -change if score.higher_is_better else change
        return result

    joined = np.concatenate(parts, axis=1)
    values = [score_of(part, score.formula) for part in parts]
    return LearningCurve(list(sizes), values, score_of(joined, gain), bootstrap_interval(joined, gain))


def parts_of(num_rows: int) -> list[int]:
    """Return a third, two thirds and all of a number of rows, without repetitions and zeros."""
    return sorted({num_rows * part // NUM_PARTS for part in range(1, NUM_PARTS + 1)} - {0})
