"""Comparison of scores in words, and the learning curve of known errors."""

import numpy as np
import pytest

from gpt_lightning.evaluation.verdict.comparison import Difference, Estimate, compare, sentence, sentences
from gpt_lightning.evaluation.verdict.learning_curve import learning_curve, parts_of
from gpt_lightning.metrics.row_scores import NUMBERS, SINGLE_LABEL
from gpt_lightning.metrics.row_statistics import Columns, Floats, RowScore

ACCURACY, MSE = SINGLE_LABEL[0], NUMBERS[0]


def difference(value: float, low: float, high: float, is_better: bool | None) -> Difference:
    return Difference(Estimate(0.5, (0.4, 0.6)), Estimate(value, (low, high)), is_better)


@pytest.mark.parametrize(
    ("score", "found", "expected"),
    [
        (ACCURACY, difference(0.031, 0.012, 0.05, True), "The model beats TF-IDF by 3.1 points (1.2 to 5.0)."),
        (ACCURACY, difference(-0.02, -0.03, -0.01, False), "TF-IDF beats the model by 2.0 points (1.0 to 3.0)."),
        (
            ACCURACY,
            difference(-0.004, -0.01, 0.002, None),
            "The difference of the model and TF-IDF, -0.4 points, could be chance: its 95 % interval (-1.0 to 0.2) "
            "includes zero.",
        ),
        (MSE, difference(-0.25, -0.5, -0.1, True), "The model beats TF-IDF by 0.25 in mse (0.1 to 0.5)."),
        (MSE, difference(2.0, 1.0, 3.0, False), "TF-IDF beats the model by 2 in mse (1 to 3)."),
        (
            ACCURACY,
            difference(np.nan, np.nan, np.nan, None),
            "The model and TF-IDF cannot be compared: the accuracy of one of them is undefined.",
        ),
    ],
)
def test_the_difference_in_words(score: RowScore, found: Difference, expected: str) -> None:
    assert sentence(score, "TF-IDF", found) == expected


def test_lower_errors_are_better() -> None:
    generator = np.random.default_rng(0)
    target = generator.normal(size=200)
    near, far = (target + size * generator.normal(size=200) for size in (0.1, 1.0))

    def columns(prediction: Floats) -> Columns:
        return {"rows": np.ones(200), "prediction": prediction, "target": target}

    found = compare(NUMBERS, columns(near), {"trivial": ("mean", columns(far))})
    assert found is not None
    assert found.metric == "mse"
    assert {name: each.is_better for name, each in found.baselines["trivial"].scores.items()} == {
        "mse": True,
        "mae": True,
        "pearson": True,
    }
    assert sentences(found, NUMBERS)[0].startswith("The model beats the trivial baseline (mean) by ")
    assert compare(NUMBERS, {"rows": np.zeros(3), "prediction": np.ones(3), "target": np.ones(3)}, {}) is None


def test_the_learning_curve_of_a_power_law_is_exact() -> None:
    sizes = [1000, 2000, 3000]
    errors = [0.5 * (size / 1000) ** -0.4 for size in sizes]

    def columns(error: float) -> Columns:
        correct = (np.arange(10_000) >= round(10_000 * error)).astype(float)
        return {"rows": np.ones(10_000), "correct": correct}

    curve = learning_curve(ACCURACY, sizes, [columns(error) for error in errors])
    assert curve.scores == pytest.approx([1 - error for error in errors], abs=1e-4)
    assert curve.gain == pytest.approx(errors[-1] - 0.5 * 6**-0.4, abs=2e-4)
    assert curve.interval[0] < curve.gain < curve.interval[1]
    assert parts_of(8) == [2, 5, 8]
    assert parts_of(1) == [1]
