"""Confusion matrices and average precision against scikit-learn and torchmetrics."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import (  # type: ignore[import-untyped]
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.functional.classification import multilabel_average_precision

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.metrics import ClassificationMetrics, MultiLabelMetrics
from gpt_lightning.metrics.classification import MIDDLE, PROBABILITY_EDGES
from gpt_lightning.metrics.loss import MeanLoss, add_keeping_rounding

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
Fed = Callable[[list[Batch]], MeanLoss]
Rows = Callable[[int, int, int], tuple[Tensor, Tensor]]


def numbers(metric: Metric) -> dict[str, float]:
    """The scalars that a metric computes."""
    return {name: float(value) for name, value in metric.compute().items() if value.ndim == 0}


def single_label(rows: int, num_labels: int, seed: int) -> tuple[Tensor, Tensor]:
    """(predicted, labels): half of them right, some ignored, the last label neither true nor predicted."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, num_labels - 1, (rows,), generator=generator)
    guesses = torch.randint(0, num_labels - 1, (rows,), generator=generator)
    predicted = torch.where(torch.rand(rows, generator=generator) < 0.5, labels, guesses)
    return predicted, labels.masked_fill(torch.rand(rows, generator=generator) < 0.1, IGNORE_INDEX)


def multi_label(rows: int, num_labels: int, seed: int) -> tuple[Tensor, Tensor]:
    """(probabilities, labels): better than chance, some rows ignored, label 0 never true."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(rows, num_labels, generator=generator) < 0.3).long()
    labels[:, 0] = 0
    probabilities = torch.sigmoid(3 * torch.randn(rows, num_labels, generator=generator) + 3 * labels - 3)
    labels[torch.rand(rows, generator=generator) < 0.1] = IGNORE_INDEX
    return probabilities, labels


def batches_of(first: Tensor, labels: Tensor, size: int = 10) -> list[Batch]:
    """Batches whose mean loss is the mean of 0.01 times the row's number, so that its exact mean is known."""
    losses = torch.arange(len(labels)) * 0.01
    batches = []
    for start in range(0, len(labels), size):
        here = slice(start, start + size)
        counted = (labels[here] != IGNORE_INDEX).reshape(len(labels[here]), -1)[:, 0]
        batches.append((losses[here][counted].mean(), counted.sum(), first[here], labels[here]))
    return batches


def mean_of_losses(labels: Tensor) -> float:
    counted = (labels != IGNORE_INDEX).reshape(len(labels), -1)[:, 0]
    return float((torch.arange(len(labels), dtype=torch.float64) * 0.01)[counted].mean())


@pytest.mark.parametrize("num_labels", [2, 3, 7])
@pytest.mark.parametrize("seed", range(5))
def test_single_label_equals_scikit_learn(num_labels: int, seed: int) -> None:
    predicted, labels = single_label(173, num_labels, seed)
    metric = ClassificationMetrics(num_labels)
    for batch in batches_of(predicted, labels):
        metric.update(*batch)
    counted = labels != IGNORE_INDEX
    gold, guess = labels[counted].numpy(), predicted[counted].numpy()

    expected = {
        "loss": mean_of_losses(labels),
        "accuracy": accuracy_score(gold, guess),
        "macro_f1": f1_score(gold, guess, average="macro", zero_division=0),
        "weighted_f1": f1_score(gold, guess, average="weighted", zero_division=0),
    }
    assert numbers(metric) == pytest.approx(expected, rel=1e-6)
    values = metric.compute()
    assert values["confusion_matrix"].tolist() == confusion_matrix(gold, guess, labels=range(num_labels)).tolist()
    assert values["confusion_matrix"].dtype == torch.int64
    scores = precision_recall_fscore_support(gold, guess, labels=range(num_labels), zero_division=0)
    np.testing.assert_allclose(values["per_class"].numpy(), np.stack(scores, axis=1), rtol=1e-6)


def test_single_label_by_hand() -> None:
    metric = ClassificationMetrics(3)
    metric.update(torch.tensor(2.0), torch.tensor(3), torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 0, IGNORE_INDEX]))
    values = metric.compute()
    assert values["confusion_matrix"].tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert numbers(metric) == pytest.approx({"loss": 2.0, "accuracy": 2 / 3, "macro_f1": 2 / 3, "weighted_f1": 2 / 3})
    assert values["per_class"].tolist() == [
        pytest.approx([1.0, 0.5, 2 / 3, 2.0]),
        pytest.approx([0.5, 1.0, 2 / 3, 1.0]),
        [0.0] * 4,
    ]


@pytest.mark.parametrize("seed", range(5))
def test_multi_label_equals_scikit_learn_and_torchmetrics(seed: int) -> None:
    probabilities, labels = multi_label(211, 6, seed)
    metric = MultiLabelMetrics(6)
    for batch in batches_of(probabilities, labels):
        metric.update(*batch)
    counted = labels[:, 0] != IGNORE_INDEX
    gold, chances = labels[counted], probabilities[counted]
    guess = (chances >= 0.5).long()

    values = numbers(metric)
    exact = average_precision_score(gold[:, 1:].numpy(), chances[:, 1:].numpy(), average="macro")
    assert values["mean_average_precision"] == pytest.approx(exact, abs=2e-3)
    binned = multilabel_average_precision(chances, gold, 6, average="none", thresholds=PROBABILITY_EDGES)
    expected = {
        "loss": mean_of_losses(labels),
        "accuracy": accuracy_score(gold, guess),
        "micro_f1": f1_score(gold, guess, average="micro", zero_division=0),
        "macro_f1": f1_score(gold, guess, average="macro", zero_division=0),
        "mean_average_precision": float(binned[1:].mean()),
    }
    assert values == pytest.approx(expected, rel=1e-5)
    scores = precision_recall_fscore_support(gold, guess, average=None, zero_division=0)
    np.testing.assert_allclose(metric.compute()["per_class"].numpy(), np.stack(scores, axis=1), rtol=1e-6)


def test_average_precision_is_exact_where_probabilities_are_edges() -> None:
    generator = torch.Generator().manual_seed(0)
    edges = torch.tensor(sorted(set(PROBABILITY_EDGES.tolist())))
    probabilities = edges[torch.randint(0, len(edges), (500, 4), generator=generator)]
    labels = (torch.rand(500, 4, generator=generator) < 0.4).long()
    metric = MultiLabelMetrics(4)
    metric.update(torch.tensor(0.0), torch.tensor(500), probabilities, labels)
    expected = average_precision_score(labels.numpy(), probabilities.numpy(), average="macro")
    assert numbers(metric)["mean_average_precision"] == pytest.approx(expected, rel=1e-6)


def test_a_half_is_an_edge_and_predicts() -> None:
    assert float(PROBABILITY_EDGES[MIDDLE]) == 0.5
    below = torch.nextafter(torch.tensor(0.5), torch.tensor(0.0))
    metric = MultiLabelMetrics(3)
    probabilities = torch.stack([torch.tensor(0.5), below, torch.tensor(1.0)])[None]
    metric.update(torch.tensor(1.0), torch.tensor(1), probabilities, torch.tensor([[1, 1, 0]]))
    values = metric.compute()
    assert values["per_class"].tolist() == [[1, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert float(values["micro_f1"]) == 0.5
    assert float(values["accuracy"]) == 0.0


def test_rare_labels_are_ranked_finely() -> None:
    # All probabilities lie within 0.001 of each other; the two true rows are the likeliest.
    probabilities = torch.linspace(0.0001, 0.001, 40)[:, None]
    labels = (torch.arange(40) >= 38).long()[:, None]
    metric = MultiLabelMetrics(1)
    metric.update(torch.tensor(1.0), torch.tensor(40), probabilities, labels)
    assert numbers(metric)["mean_average_precision"] == 1.0


def single_fed(batches: list[Batch]) -> MeanLoss:
    metric = ClassificationMetrics(5)
    for batch in batches:
        metric.update(*batch)
    return metric


def multi_fed(batches: list[Batch]) -> MeanLoss:
    metric = MultiLabelMetrics(5)
    for batch in batches:
        metric.update(*batch)
    return metric


KINDS = pytest.mark.parametrize(("fed", "rows"), [(single_fed, single_label), (multi_fed, multi_label)])


def assert_same(one: Metric, other: Metric) -> None:
    values, others = one.compute(), other.compute()
    assert values.keys() == others.keys()
    for name, value in values.items():
        torch.testing.assert_close(value, others[name], rtol=1e-6, atol=0, msg=name)


@KINDS
def test_ranks_order_and_borders_of_batches_do_not_matter(fed: Fed, rows: Rows) -> None:
    first, labels = rows(200, 5, 1)
    batches = batches_of(first, labels, size=20)
    whole = fed(batches)
    ranks = [fed(batches[:1]), fed(batches[1:7]), fed(batches[7:])]
    for rank in ranks[1:]:
        ranks[0].merge_state(rank)
    assert_same(ranks[0], whole)
    assert_same(fed(batches[::-1]), whole)
    assert_same(fed(batches_of(first, labels, size=33)), whole)
    for name in whole._defaults:
        assert whole._reductions[name] is torch.sum or "sum" in str(whole._reductions[name]), name


@KINDS
def test_memory_does_not_grow(fed: Fed, rows: Rows) -> None:
    def size(metric: Metric) -> int:
        return sum(getattr(metric, name).numel() for name in metric._defaults)

    batches = batches_of(*rows(300, 5, 2))
    assert size(fed(batches)) == size(fed(batches[:1])) == size(fed([]))


@KINDS
def test_nothing_counted_is_nan(fed: Fed, rows: Rows) -> None:
    first, labels = rows(4, 5, 3)
    ignored = torch.full_like(labels, IGNORE_INDEX)
    metric = fed([(torch.tensor(math.nan), torch.tensor(0), first, ignored)])
    assert math.isnan(metric.compute()["loss"])
    assert math.isnan(metric.compute()["accuracy"])
    # A mean over nothing is nan, but it weighs nothing.
    batches = batches_of(first, torch.ones_like(labels), 4)
    metric.update(*batches[0])
    assert_same(metric, fed(batches))


@KINDS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_survives_low_precision_modules_and_reset(fed: Fed, rows: Rows, dtype: torch.dtype) -> None:
    batches = batches_of(*rows(100, 5, 4))
    whole = fed(batches)
    module = nn.ModuleDict({"metric": copy.deepcopy(fed(batches[:5]))}).to(dtype)
    metric = module["metric"]
    assert isinstance(metric, MeanLoss)
    for batch in batches[5:]:
        metric.update(*batch)
    assert_same(metric, whole)
    module.to(dtype)
    metric.reset()
    assert metric.loss_sums.dtype == metric.loss_rounding.dtype == torch.float32
    for batch in batches:
        metric.update(*batch)
    assert_same(metric, whole)


def test_moves_between_devices() -> None:
    metric = single_fed(batches_of(*single_label(20, 5, 5))).to("meta")
    assert {getattr(metric, name).device.type for name in metric._defaults} == {"meta"}
    assert {default.device.type for default in metric._defaults.values() if isinstance(default, Tensor)} == {"meta"}


def test_weights_need_not_be_counts() -> None:
    metric = ClassificationMetrics(2)
    for loss, weight in ((1.0, 0.5), (4.0, 1.25)):
        metric.update(torch.tensor(loss), torch.tensor(weight), torch.tensor([1]), torch.tensor([1]))
    assert numbers(metric)["loss"] == pytest.approx((0.5 + 5.0) / 1.75)


def test_what_float32_rounds_away_is_kept() -> None:
    generator = np.random.default_rng(0)
    values = torch.from_numpy(generator.lognormal(0, 6, 3000).astype(np.float32))
    total, rounding = torch.zeros(()), torch.zeros(())
    for value in values:  # large after small, which the simpler compensation does not see
        total, rounding = add_keeping_rounding(total, rounding, value)
    exact = math.fsum(values.tolist())
    assert float(total.double() + rounding.double()) == pytest.approx(exact, rel=1e-9)
    total, rounding = add_keeping_rounding(torch.tensor(1.0), torch.tensor(0.0), torch.tensor(2.0**30))
    assert (float(total), float(rounding)) == (2.0**30, 1.0)
