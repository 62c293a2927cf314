"""Calibration, compared with torchmetrics and scipy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]
from torchmetrics.functional.classification import multiclass_calibration_error

from gpt_lightning.evaluation.verdict.calibration import fit_temperature, reliability


def test_the_calibration_error_equals_that_of_torchmetrics() -> None:
    logits = 3 * torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(4, (500,), generator=torch.Generator().manual_seed(1))
    probabilities = logits.softmax(1)
    confidences, predicted = probabilities.double().max(1)
    ours = reliability(confidences.numpy(), (predicted == labels).double().numpy())
    expected = multiclass_calibration_error(probabilities, labels, num_classes=4, n_bins=15, norm="l1")
    assert ours.error == pytest.approx(float(expected), abs=1e-6)
    assert sum(ours.counts) == 500


def test_bins_contain_their_upper_edges() -> None:
    found = reliability(np.array([0.0, 0.5, 0.500001, 1.0]), np.array([0.0, 1.0, 0.0, 1.0]), num_bins=2)
    assert found.counts == [2, 2]
    assert found.confidences == [pytest.approx(0.25), pytest.approx(0.7500005)]
    assert found.accuracies == [0.5, 0.5]
    assert found.error == pytest.approx(0.25, abs=1e-6)
    empty = reliability(np.array([0.9]), np.array([1.0]), num_bins=2)
    assert (empty.counts, empty.confidences, empty.accuracies) == ([0, 1], [None, 0.9], [None, 1.0])


def test_the_temperature_is_that_of_another_optimizer_and_keeps_the_predictions() -> None:
    generator = torch.Generator().manual_seed(0)
    true_logits = torch.randn(4000, 5, generator=generator)
    labels = torch.multinomial(true_logits.softmax(1), 1, generator=generator).squeeze(1)
    overconfident = 3.0 * true_logits
    temperature = fit_temperature(overconfident, labels)
    expected = minimize_scalar(
        lambda t: float(F.cross_entropy(overconfident.double() / t, labels)), bounds=(0.1, 10.0), method="bounded"
    )
    assert temperature == pytest.approx(expected.x, abs=1e-3)
    assert temperature == pytest.approx(3.0, abs=0.2)

    def error(logits: torch.Tensor) -> float:
        confidences, predicted = logits.softmax(1).double().max(1)
        return reliability(confidences.numpy(), (predicted == labels).double().numpy()).error

    assert error(overconfident / temperature) < 0.2 * error(overconfident)
    assert bool(((overconfident / temperature).argmax(1) == overconfident.argmax(1)).all())


def test_perfect_logits_have_the_lowest_temperature() -> None:
    assert fit_temperature(torch.eye(3), torch.arange(3)) == pytest.approx(0.01, rel=1e-3)
