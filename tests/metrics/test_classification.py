"""Classification metrics, compared with scikit-learn and torchmetrics."""

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
    precision_recall_curve,
    precision_recall_fscore_support,
)
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.functional.classification import multilabel_average_precision

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.metrics import ClassificationMetrics, MultiLabelMetrics
from gpt_lightning.metrics.classification import HALF_INDEX, PROBABILITY_EDGES
from gpt_lightning.metrics.loss import MeanLoss, compensated_add

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
Build = Callable[[list[Batch]], MeanLoss]
Rows = Callable[[int, int, int], tuple[Tensor, Tensor]]


def scalars(metric: Metric) -> dict[str, float]:
    """Return the scalars that a metric computes."""
    return {name: float(value) for name, value in metric.compute().items() if value.ndim == 0}


def single_label(rows: int, num_labels: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return predictions and labels: half of them agree, some are ignored, and the last label never occurs."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, num_labels - 1, (rows,), generator=generator)
    random_labels = torch.randint(0, num_labels - 1, (rows,), generator=generator)
    predicted = torch.where(torch.rand(rows, generator=generator) < 0.5, labels, random_labels)
    return predicted, labels.masked_fill(torch.rand(rows, generator=generator) < 0.1, IGNORE_INDEX)


def multi_label(rows: int, num_labels: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return probabilities better than chance, and labels; some rows are ignored, and label 0 never occurs."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(rows, num_labels, generator=generator) < 0.3).long()
    labels[:, 0] = 0
    probabilities = torch.sigmoid(3 * torch.randn(rows, num_labels, generator=generator) + 3 * labels - 3)
    labels[torch.rand(rows, generator=generator) < 0.1] = IGNORE_INDEX
    return probabilities, labels


def batches_of(first: Tensor, labels: Tensor, size: int = 10) -> list[Batch]:
    """Split rows into batches with known losses: 0.01 times the index of the row."""
    losses = torch.arange(len(labels)) * 0.01
    batches = []
    for start in range(0, len(labels), size):
        rows = slice(start, start + size)
        counted = (labels[rows] != IGNORE_INDEX).reshape(len(labels[rows]), -1)[:, 0]
        batches.append((losses[rows][counted].mean(), counted.sum(), first[rows], labels[rows]))
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
    gold, predictions = labels[counted].numpy(), predicted[counted].numpy()

    expected = {
        "loss": mean_of_losses(labels),
        "accuracy": accuracy_score(gold, predictions),
        "macro_f1": f1_score(gold, predictions, average="macro", zero_division=0),
        "weighted_f1": f1_score(gold, predictions, average="weighted", zero_division=0),
    }
    assert scalars(metric) == pytest.approx(expected, rel=1e-6)
    values = metric.compute()
    assert values["confusion_matrix"].tolist() == confusion_matrix(gold, predictions, labels=range(num_labels)).tolist()
    assert values["confusion_matrix"].dtype == torch.int64
    scores = precision_recall_fscore_support(gold, predictions, labels=range(num_labels), zero_division=0)
    np.testing.assert_allclose(values["per_class"].numpy(), np.stack(scores, axis=1), rtol=1e-6)


def test_single_label_by_hand() -> None:
    metric = ClassificationMetrics(3)
    metric.update(torch.tensor(2.0), torch.tensor(3), torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 0, IGNORE_INDEX]))
    values = metric.compute()
    assert values["confusion_matrix"].tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert scalars(metric) == pytest.approx({"loss": 2.0, "accuracy": 2 / 3, "macro_f1": 2 / 3, "weighted_f1": 2 / 3})
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
    gold, scores_BL = labels[counted], probabilities[counted]
    predictions = (scores_BL >= 0.5).long()

    values = scalars(metric)
    exact = average_precision_score(gold[:, 1:].numpy(), scores_BL[:, 1:].numpy(), average="macro")
    assert values["mean_average_precision"] == pytest.approx(exact, abs=2e-3)
    binned = multilabel_average_precision(scores_BL, gold, 6, average="none", thresholds=PROBABILITY_EDGES)
    expected = {
        "loss": mean_of_losses(labels),
        "accuracy": accuracy_score(gold, predictions),
        "micro_f1": f1_score(gold, predictions, average="micro", zero_division=0),
        "macro_f1": f1_score(gold, predictions, average="macro", zero_division=0),
        "mean_average_precision": float(binned[1:].mean()),
    }
    assert values == pytest.approx(expected, rel=1e-5)
    scores = precision_recall_fscore_support(gold, predictions, average=None, zero_division=0)
    np.testing.assert_allclose(metric.compute()["per_class"].numpy(), np.stack(scores, axis=1), rtol=1e-6)


def test_average_precision_is_exact_at_edges() -> None:
    generator = torch.Generator().manual_seed(0)
    edges = torch.tensor(sorted(set(PROBABILITY_EDGES.tolist())))
    probabilities = edges[torch.randint(0, len(edges), (500, 4), generator=generator)]
    labels = (torch.rand(500, 4, generator=generator) < 0.4).long()
    metric = MultiLabelMetrics(4)
    metric.update(torch.tensor(0.0), torch.tensor(500), probabilities, labels)
    expected = average_precision_score(labels.numpy(), probabilities.numpy(), average="macro")
    assert scalars(metric)["mean_average_precision"] == pytest.approx(expected, rel=1e-6)


def test_probability_of_one_half_is_an_edge_and_predicts() -> None:
    assert float(PROBABILITY_EDGES[HALF_INDEX]) == 0.5
    below = torch.nextafter(torch.tensor(0.5), torch.tensor(0.0))
    metric = MultiLabelMetrics(3)
    probabilities = torch.stack([torch.tensor(0.5), below, torch.tensor(1.0)])[None]
    metric.update(torch.tensor(1.0), torch.tensor(1), probabilities, torch.tensor([[1, 1, 0]]))
    values = metric.compute()
    assert values["per_class"].tolist() == [[1, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert float(values["micro_f1"]) == 0.5
    assert float(values["accuracy"]) == 0.0


def test_rare_labels_are_ranked_finely() -> None:
    # All probabilities are within 0.001 of each other; the two true rows have the highest.
    probabilities = torch.linspace(0.0001, 0.001, 40)[:, None]
    labels = (torch.arange(40) >= 38).long()[:, None]
    metric = MultiLabelMetrics(1)
    metric.update(torch.tensor(1.0), torch.tensor(40), probabilities, labels)
    assert scalars(metric)["mean_average_precision"] == 1.0


def single_label_metric(batches: list[Batch]) -> MeanLoss:
    metric = ClassificationMetrics(5)
    for batch in batches:
        metric.update(*batch)
    return metric


def multi_label_metric(batches: list[Batch]) -> MeanLoss:
    metric = MultiLabelMetrics(5)
    for batch in batches:
        metric.update(*batch)
    return metric


METRICS = pytest.mark.parametrize(
    ("build", "rows"), [(single_label_metric, single_label), (multi_label_metric, multi_label)]
)


def assert_same(one: Metric, other: Metric) -> None:
    values, others = one.compute(), other.compute()
    assert values.keys() == others.keys()
    for name, value in values.items():
        torch.testing.assert_close(value, others[name], rtol=1e-6, atol=0, msg=name)


@METRICS
def test_result_does_not_depend_on_ranks_order_or_batch_size(build: Build, rows: Rows) -> None:
    first, labels = rows(200, 5, 1)
    batches = batches_of(first, labels, size=20)
    single_process = build(batches)
    ranks = [build(batches[:1]), build(batches[1:7]), build(batches[7:])]
    for rank in ranks[1:]:
        ranks[0].merge_state(rank)
    assert_same(ranks[0], single_process)
    assert_same(build(batches[::-1]), single_process)
    assert_same(build(batches_of(first, labels, size=33)), single_process)
    for name in single_process._defaults:
        assert single_process._reductions[name] is torch.sum or "sum" in str(single_process._reductions[name]), name


@METRICS
def test_memory_does_not_grow(build: Build, rows: Rows) -> None:
    def size(metric: Metric) -> int:
        return sum(getattr(metric, name).numel() for name in metric._defaults)

    batches = batches_of(*rows(300, 5, 2))
    assert size(build(batches)) == size(build(batches[:1])) == size(build([]))


@METRICS
def test_result_without_rows_is_nan(build: Build, rows: Rows) -> None:
    first, labels = rows(4, 5, 3)
    ignored = torch.full_like(labels, IGNORE_INDEX)
    metric = build([(torch.tensor(math.nan), torch.tensor(0), first, ignored)])
    assert math.isnan(metric.compute()["loss"])
    assert math.isnan(metric.compute()["accuracy"])
    # A batch without labels has the mean NaN and weight 0, so it must not affect later batches.
    batches = batches_of(first, torch.ones_like(labels), 4)
    metric.update(*batches[0])
    assert_same(metric, build(batches))


@METRICS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_modules_and_reset_keep_float32_sums(build: Build, rows: Rows, dtype: torch.dtype) -> None:
    batches = batches_of(*rows(100, 5, 4))
    single_process = build(batches)
    module = nn.ModuleDict({"metric": copy.deepcopy(build(batches[:5]))}).to(dtype)
    metric = module["metric"]
    assert isinstance(metric, MeanLoss)
    for batch in batches[5:]:
        metric.update(*batch)
    assert_same(metric, single_process)
    module.to(dtype)
    metric.reset()
    assert metric.loss_sums.dtype == metric.loss_rounding.dtype == torch.float32
    for batch in batches:
        metric.update(*batch)
    assert_same(metric, single_process)


def test_states_move_to_another_device() -> None:
    metric = single_label_metric(batches_of(*single_label(20, 5, 5))).to("meta")
    assert {getattr(metric, name).device.type for name in metric._defaults} == {"meta"}
    assert {default.device.type for default in metric._defaults.values() if isinstance(default, Tensor)} == {"meta"}


def test_weights_may_be_fractions() -> None:
    metric = ClassificationMetrics(2)
    for loss, weight in ((1.0, 0.5), (4.0, 1.25)):
        metric.update(torch.tensor(loss), torch.tensor(weight), torch.tensor([1]), torch.tensor([1]))
    assert scalars(metric)["loss"] == pytest.approx((0.5 + 5.0) / 1.75)


def test_compensated_sum_is_exact_beyond_float32() -> None:
    generator = np.random.default_rng(0)
    values = torch.from_numpy(generator.lognormal(0, 6, 3000).astype(np.float32))
    total, rounding = torch.zeros(()), torch.zeros(())
    for value in values:  # Kahan's simpler compensation fails when a large value follows small ones
        total, rounding = compensated_add(total, rounding, value)
    exact = math.fsum(values.tolist())
    assert float(total.double() + rounding.double()) == pytest.approx(exact, rel=1e-9)
    total, rounding = compensated_add(torch.tensor(1.0), torch.tensor(0.0), torch.tensor(2.0**30))
    assert (float(total), float(rounding)) == (2.0**30, 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_tuned_thresholds_are_the_best_of_scikit_learns_precision_recall_curve(seed: int) -> None:
    probabilities, labels = multi_label(211, 5, seed)
    metric = MultiLabelMetrics(5)
    metric.tunes_thresholds = True
    for batch in batches_of(probabilities, labels):
        metric.update(*batch)
    f1_of_label = metric.compute()["per_class"][:, 2]
    counted = labels[:, 0] != IGNORE_INDEX
    gold, scores = labels[counted].numpy(), probabilities[counted].numpy()
    assert metric.thresholds[0] == 0.5, "no row has this label"
    for label in range(1, 5):
        # Probabilities in one bin have one threshold.
        binned = metric.edges.numpy()[np.searchsorted(metric.edges.numpy(), scores[:, label], side="right") - 1]
        precision, recall, _ = precision_recall_curve(gold[:, label], binned)
        best = (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()
        assert float(f1_of_label[label]) == pytest.approx(best, abs=1e-6)
        predicted = scores[:, label] >= metric.thresholds.numpy()[label]
        assert f1_score(gold[:, label], predicted) == pytest.approx(best, abs=1e-6)


def test_given_thresholds_are_used_in_all_scores() -> None:
    probabilities, labels = multi_label(97, 3, 0)
    thresholds = torch.tensor([0.9, 0.1, 0.3])
    metric = MultiLabelMetrics(3, thresholds)
    torch.testing.assert_close(metric.thresholds, thresholds, atol=0.003, rtol=0)
    for batch in batches_of(probabilities, labels):
        metric.update(*batch)
    counted = labels[:, 0] != IGNORE_INDEX
    gold, predicted = labels[counted].numpy(), (probabilities[counted] >= metric.thresholds).long().numpy()
    values = scalars(metric)
    assert values["micro_f1"] == pytest.approx(f1_score(gold, predicted, average="micro"))
    assert values["macro_f1"] == pytest.approx(f1_score(gold, predicted, average="macro", zero_division=0))
    assert values["accuracy"] == pytest.approx(accuracy_score(gold, predicted))
    assert MultiLabelMetrics(2, torch.tensor([0.0, 1.0])).thresholds.tolist() == [0.0, float(PROBABILITY_EDGES[-1])]


def test_memory_is_linear_in_the_labels() -> None:
    """A confusion matrix of 10,000 labels would take 800 MB."""
    for many in (ClassificationMetrics(10_000), MultiLabelMetrics(10_000)):
        assert sum(value.nbytes for value in many.metric_state.values() if isinstance(value, Tensor)) < 50_000_000
    predicted, labels = single_label(173, 700, 0)
    metric = ClassificationMetrics(700)
    for batch in batches_of(predicted, labels):
        metric.update(*batch)
    values, counted = metric.compute(), labels != IGNORE_INDEX
    gold, predictions = labels[counted].numpy(), predicted[counted].numpy()
    assert "confusion_matrix" not in values
    assert float(values["accuracy"]) == pytest.approx(accuracy_score(gold, predictions))
    scores = precision_recall_fscore_support(gold, predictions, labels=range(700), zero_division=0)
    np.testing.assert_allclose(values["per_class"].numpy(), np.stack(scores, axis=1), rtol=1e-6)
