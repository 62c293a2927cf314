"""Scores of a model and of its baselines on the same rows, with intervals and the difference in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gpt_lightning.evaluation.verdict.bootstrap import bootstrap_interval, difference_interval, score_of
from gpt_lightning.metrics.row_statistics import Columns, RowScore

Interval = tuple[float, float]

TRIVIAL: Final = "trivial"
TFIDF: Final = "tfidf"


@dataclass(frozen=True)
class Estimate:
    """Value with its 95 % interval."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Difference:
    """Model and baseline by one score.

    Attributes:
        baseline: score of the baseline.
        difference: score of the model minus that of the baseline; its interval draws the same rows for both.
        is_better: True if the model is better, False if the baseline is; None if the interval includes zero, so that
            the difference could be chance.
    """

    baseline: Estimate
    difference: Estimate
    is_better: bool | None


@dataclass(frozen=True)
class BaselineResult:
    """Comparison of a model with one baseline.

    Attributes:
        name: description of the baseline.
        scores: name of a score -> the comparison.
    """

    name: str
    scores: dict[str, Difference]


@dataclass(frozen=True)
class Comparison:
    """Comparison of a model with its baselines.

    Attributes:
        metric: the headline score, the first that the task names and the baselines have.
        rows: number of rows behind it.
        scores: name of a score -> that of the model.
        baselines: ``trivial`` and ``tfidf`` -> the comparison, if there is such a baseline.
    """

    metric: str
    rows: int
    scores: dict[str, Estimate]
    baselines: dict[str, BaselineResult] = field(default_factory=dict)


def compare(
    scores: Sequence[RowScore], model: Columns, baselines: Mapping[str, tuple[str, Columns]]
) -> Comparison | None:
    """Return the comparison of a model with its baselines; None without rows that count.

    Args:
        scores: the scores of the task.
        model: statistics of each row for the model.
        baselines: key -> name, and the statistics of the same rows in the same order.
    """
    found = [score for score in scores if score.is_in(model)]
    shared = [score for score in found if any(score.is_in(columns) for _, columns in baselines.values())]
    if not found:
        return None
    headline = (shared or found)[0]
    results = {
        key: BaselineResult(
            name, {each.name: _difference(each, model, columns) for each in found if each.is_in(columns)}
        )
        for key, (name, columns) in baselines.items()
    }
    return Comparison(
        headline.name, len(headline.of(model)), {each.name: estimate(each, model) for each in found}, results
    )


def estimate(score: RowScore, columns: Columns) -> Estimate:
    """Return a score with its interval."""
    statistics = score.of(columns)
    return Estimate(score_of(statistics, score.formula), bootstrap_interval(statistics, score.formula))


def _difference(score: RowScore, model: Columns, baseline: Columns) -> Difference:
    ours, other = score.of(model), score.of(baseline)
    low, high = difference_interval(ours, other, score.formula)
    value = score_of(ours, score.formula) - score_of(other, score.formula)
    is_better = None
    if low > 0 or high < 0:
        is_better = (low > 0) == score.higher_is_better
    return Difference(estimate(score, baseline), Estimate(value, (low, high)), is_better)


def sentences(comparison: Comparison, scores: Sequence[RowScore]) -> list[str]:
    """Return a sentence about the headline score for each baseline."""
    (headline,) = (score for score in scores if score.name == comparison.metric)
    return [
        sentence(headline, _spoken_name(key, result.name), result.scores[headline.name])
        for key, result in comparison.baselines.items()
        if headline.name in result.scores
    ]


def sentence(score: RowScore, baseline: str, result: Difference) -> str:
    """Return the difference of a model and a baseline in words."""
    if math.isnan(result.difference.value) or math.isnan(result.difference.interval[0]):
        return f"The model and {baseline} cannot be compared: the {score.name} of one of them is undefined."
    sign = 1.0 if score.higher_is_better else -1.0
    factor = sign * (100.0 if score.is_share else 1.0)
    low, value, high = (
        factor * each
        for each in (result.difference.interval[0], result.difference.value, result.difference.interval[1])
    )
    low, high = min(low, high), max(low, high)
    unit = " points" if score.is_share else f" in {score.name}"
    shown = [number(each, score) for each in (value, low, high)]
    if result.is_better is None:
        return (
            f"The difference of the model and {baseline}, {shown[0]}{unit}, could be chance: its 95 % interval "
            f"({shown[1]} to {shown[2]}) includes zero."
        )
    if result.is_better:
        return f"The model beats {baseline} by {shown[0]}{unit} ({shown[1]} to {shown[2]})."
    reverse = [number(-each, score) for each in (value, high, low)]
    beaten = f"{baseline[0].upper()}{baseline[1:]} beats the model"
    return f"{beaten} by {reverse[0]}{unit} ({reverse[1]} to {reverse[2]})."


def number(value: float, score: RowScore) -> str:
    """Return a difference as text: points with one decimal, other units with four digits."""
    return f"{value:.1f}" if score.is_share else f"{value:.4g}"


def _spoken_name(key: str, name: str) -> str:
    return name if key == TFIDF else f"the trivial baseline ({name})"
