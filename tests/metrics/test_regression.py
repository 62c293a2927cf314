"""Regression metrics, compared with SciPy and scikit-learn."""

import math

import pytest
import torch
from scipy.stats import pearsonr, rankdata, spearmanr  # type: ignore[import-untyped]
from sklearn.metrics import mean_absolute_error, mean_squared_error  # type: ignore[import-untyped]

from gpt_lightning.metrics import RegressionMetrics
from gpt_lightning.metrics.regression import ranks


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("has_ties", [True, False])
def test_values_equal_those_of_scipy_and_scikit_learn(seed: int, has_ties: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    targets = 1e4 + 3 * torch.randn(157, generator=generator)
    predictions = targets + 2 * torch.randn(157, generator=generator)
    if has_ties:
        targets, predictions = targets.round(), predictions.round()
    targets[::10] = math.nan
    metric = RegressionMetrics()
    for start in range(0, 157, 10):
        rows = slice(start, start + 10)
        metric.update(torch.tensor(1.0), torch.tensor(9), predictions[rows], targets[rows])
    values = metric.compute()
    counted = ~targets.isnan()
    gold, predicted = targets[counted].double().numpy(), predictions[counted].double().numpy()
    expected = {
        "mse": mean_squared_error(gold, predicted),
        "mae": mean_absolute_error(gold, predicted),
        "pearson": pearsonr(gold, predicted).statistic,
        "spearman": spearmanr(gold, predicted).statistic,
        "loss": 1.0,
    }
    assert {name: float(value) for name, value in values.items()} == pytest.approx(expected, rel=1e-6)
    assert ranks(targets[counted].double()).tolist() == rankdata(gold).tolist()


def test_a_correlation_with_a_constant_is_not_a_number() -> None:
    metric = RegressionMetrics()
    metric.update(torch.tensor(1.0), torch.tensor(3), torch.ones(3), torch.tensor([1.0, 2.0, 3.0]))
    values = metric.compute()
    assert values["pearson"].isnan()
    assert values["spearman"].isnan()
    assert float(values["mae"]) == 1.0
