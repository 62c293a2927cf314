"""Precision-recall curve and calibration, compared with scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve  # type: ignore[import-untyped]
from sklearn.metrics import average_precision_score, precision_recall_curve  # type: ignore[import-untyped]

from gpt_lightning.evaluation.verdict.calibration import reliability
from gpt_lightning.metrics.classification import PROBABILITY_EDGES
from gpt_lightning.metrics.curves import ProbabilityCurves


def binned(probabilities: np.ndarray) -> np.ndarray:
    """Return the lower edge of the bin of each probability, as curves treat those in a bin alike."""
    edges = PROBABILITY_EDGES.double().numpy()
    return edges[np.searchsorted(edges, probabilities, side="right") - 1]


@pytest.mark.parametrize("multi_label", [False, True])
def test_curves_equal_those_of_scikit_learn(multi_label: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    curves = ProbabilityCurves(multi_label)
    scores, targets, confidences, corrects = [], [], [], []
    for _ in range(3):
        logits = 2.0 * torch.randn(60, 4, generator=generator)
        if multi_label:
            labels = (logits + torch.randn(60, 4, generator=generator) > 1).long()
            labels[-5:] = -100
            probabilities, gold = logits[:-5].double().sigmoid(), labels[:-5]
            confidence, correct = torch.maximum(probabilities, 1 - probabilities), (probabilities >= 0.5).long() == gold
        else:
            labels = (logits + 2 * torch.randn(60, 4, generator=generator)).argmax(1)
            labels[-5:] = -100
            probabilities = logits[:-5].double().softmax(1)
            gold = torch.nn.functional.one_hot(labels[:-5], 4)
            confidence, correct = probabilities.max(1).values, probabilities.argmax(1) == labels[:-5]
        curves.add(logits, labels)
        scores.append(binned(probabilities.numpy()).ravel())
        targets.append(gold.numpy().ravel())
        confidences.append(confidence.numpy().ravel())
        corrects.append(correct.numpy().ravel())
    score, target, confidence_N, correct_N = map(np.concatenate, (scores, targets, confidences, corrects))
    precision, recall, _ = precision_recall_curve(target, score)
    found = np.array(curves.precision_recall())
    np.testing.assert_allclose(found, np.stack([recall, precision], axis=1)[-2::-1], rtol=1e-6)
    assert curves.average_precision() == pytest.approx(average_precision_score(target, score), rel=1e-6)
    accuracies, means = calibration_curve(correct_N, confidence_N, n_bins=15)
    bins = np.array(curves.reliability())
    np.testing.assert_allclose(bins[:, 0], means, rtol=1e-9)
    np.testing.assert_allclose(bins[:, 1], accuracies, rtol=1e-9)
    assert bins[:, 2].sum() == len(confidence_N)
    expected = sum(count * abs(accuracy - mean) for mean, accuracy, count in bins) / len(confidence_N)
    assert curves.calibration_error() == pytest.approx(expected)
    assert curves.calibration_error() == pytest.approx(reliability(confidence_N, correct_N).error)


def test_bins_of_confidence_are_those_of_the_verdict() -> None:
    edges = np.linspace(0.5, 1.0, 31)
    curves = ProbabilityCurves(multi_label=False)
    logits = torch.from_numpy(np.stack([np.log(edges), np.log(np.maximum(1.0 - edges, 1e-300))], axis=1))
    curves.add(logits, torch.zeros(len(edges), dtype=torch.int64))
    confidences = logits.softmax(1).max(1).values.numpy()
    expected = [count for count in reliability(confidences, np.ones(len(edges))).counts if count]
    assert [count for _, _, count in curves.reliability()] == expected


def test_certain_predictions_and_no_predictions() -> None:
    curves = ProbabilityCurves(multi_label=False)
    assert curves.reliability() == []
    assert curves.precision_recall() == []
    curves.add(torch.tensor([[1e4, -1e4], [-1e4, 1e4]]), torch.tensor([0, 1]))
    assert curves.reliability() == [(1.0, 1.0, 2)]
    assert (curves.calibration_error(), curves.average_precision()) == (0.0, 1.0)


@pytest.mark.parametrize("multi_label", [False, True])
def test_rows_that_are_not_finite_are_left_out(multi_label: bool) -> None:
    logits = torch.tensor([[0.0, 2.0], [torch.nan, 1.0], [torch.inf, 0.0], [1.0, 0.0]])
    labels = torch.tensor([[0, 1]] * 4) if multi_label else torch.tensor([1, 1, 0, 0])
    curves, finite = ProbabilityCurves(multi_label), ProbabilityCurves(multi_label)
    curves.add(logits, labels)
    finite.add(logits[[0, 3]], labels[[0, 3]])
    assert curves.reliability() == finite.reliability()
    assert curves.precision_recall() == finite.precision_recall()
