"""Metrics of single-label and multi-label classification."""

import torch
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.metrics.loss import MeanLoss

# B rows, L labels, E edges between probabilities
PROBABILITY_EDGES = torch.linspace(-16.0, 16.0, 2049, dtype=torch.float64).sigmoid().float()
"""(E,) Steps of 1/64 of a logit, so that rare labels, whose probabilities are all near 0, are ranked finely too."""
PROBABILITY_EDGES[0] = 0.0
MIDDLE = len(PROBABILITY_EDGES) // 2  # sigmoid(0), exactly 0.5


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A quotient in float64 that is 0 where nothing is divided by nothing, as in scikit-learn and seqeval."""
    quotient = numerator.double() / denominator.double()
    return torch.where(denominator == 0, torch.zeros_like(quotient), quotient)


def scores_per_class(correct: Tensor, predicted: Tensor, gold: Tensor) -> Tensor:
    """(L, 4) float64 precision, recall, F1 and support, of (L,) counts each."""
    f1 = ratio(2 * correct, predicted + gold)
    return torch.stack([ratio(correct, predicted), ratio(correct, gold), f1, gold.double()], dim=1)


class ClassificationMetrics(MeanLoss):
    """Loss, accuracy and F1 of rows of one label each, from a confusion matrix that is added up over ranks."""

    confusion: Tensor

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.add_state("confusion", torch.zeros(num_labels, num_labels, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, mean_loss: Tensor, weight: Tensor, predicted: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            mean_loss: () the mean over the labeled rows.
            weight: () labeled rows, or the sum of their weights.
            predicted: (B,) int64.
            labels: (B,) int64; rows of ``IGNORE_INDEX`` are not counted.
        """
        self.add_loss(mean_loss, weight)
        counted = (labels != IGNORE_INDEX).long()
        cell = labels * counted * self.num_labels + predicted
        self.confusion = self.confusion.flatten().index_add(0, cell, counted).view_as(self.confusion)

    def compute(self) -> dict[str, Tensor]:
        """Scalars, ``per_class`` (L, 4) and ``confusion_matrix``.

        ``loss``, ``accuracy``, ``macro_f1`` (over the labels that occur or were predicted) and ``weighted_f1`` (by
        support) are () float32, nan without rows; ``per_class`` holds precision, recall, F1 and support;
        ``confusion_matrix`` is (L, L) int64, a row for each true label, a column for each predicted one.
        """
        confusion = self.confusion.cpu()
        correct, predicted, gold = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
        per_class = scores_per_class(correct, predicted, gold)
        f1 = per_class[:, 2]
        values = {
            "loss": self.mean_loss(),
            "accuracy": correct.sum().double() / gold.sum(),
            "macro_f1": f1[predicted + gold > 0].mean(),
            "weighted_f1": (f1 * gold).sum() / gold.sum(),
            "per_class": per_class,
        }
        return {**self.to_float32(values), "confusion_matrix": self.confusion}


class MultiLabelMetrics(MeanLoss):
    """Loss, accuracy, F1 and average precision of rows that have any number of labels.

    A label is predicted where its probability is at least 0.5. Probabilities are kept as counts between
    ``PROBABILITY_EDGES``, 32 KiB a label, so that memory does not grow with rows: average precision takes
    probabilities for equal that are less than 1/64 of a logit apart (1.6% of a small one, 0.004 near 0.5). It equals
    torchmetrics' ``MultilabelAveragePrecision(thresholds=PROBABILITY_EDGES)``, at a cost a row of labels, not of
    labels times edges.
    """

    counts: Tensor
    rows: Tensor

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels
        # Between which edges, of which label, whether it is true.
        shape = (len(PROBABILITY_EDGES), num_labels, 2)
        self.add_state("counts", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        # Rows whose labels are all right, and all rows.
        self.add_state("rows", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, mean_loss: Tensor, weight: Tensor, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            mean_loss: () the mean over the labeled rows.
            weight: () labeled rows, or the sum of their weights.
            probabilities: (B, L) float.
            labels: (B, L) int64, 0 or 1; rows with ``IGNORE_INDEX`` are not counted.
        """
        self.add_loss(mean_loss, weight)
        probabilities = probabilities.detach().float().contiguous()
        counted_B = (labels != IGNORE_INDEX).all(1)
        counted = counted_B[:, None].expand_as(labels).long()
        gold = labels * counted

        between = torch.bucketize(probabilities, PROBABILITY_EDGES.to(probabilities.device), right=True) - 1
        column = torch.arange(self.num_labels, device=labels.device)
        cell = (between * self.num_labels + column) * 2 + gold
        flat = self.counts.flatten().index_add(0, cell.flatten(), counted.flatten())
        self.counts = flat.view_as(self.counts)

        right = ((probabilities >= 0.5).long() == gold).all(1) & counted_B
        self.rows = self.rows + torch.stack([right.sum(), counted_B.sum()])

    def compute(self) -> dict[str, Tensor]:
        """Scalars and ``per_class`` (L, 4).

        ``loss``, ``micro_f1``, ``macro_f1`` (over all labels), ``mean_average_precision`` (over the labels that
        occur) and ``accuracy`` (rows whose labels are all right) are () float32; ``per_class`` holds precision,
        recall, F1 and support.
        """
        counts, rows = self.counts.cpu(), self.rows.cpu()
        gold = counts[:, :, 1].sum(0)
        predicted = counts[MIDDLE:].sum((0, 2))
        correct = counts[MIDDLE:, :, 1].sum(0)
        per_class = scores_per_class(correct, predicted, gold)

        # From each edge up: the precision. Recall rises there by the share of the label's rows up to the next edge.
        above = counts.flip(0).cumsum(0).flip(0)
        precision = ratio(above[:, :, 1], above.sum(2))
        average_precision = (precision * counts[:, :, 1] / gold).sum(0)
        values = {
            "loss": self.mean_loss(),
            "accuracy": rows[0].double() / rows[1],
            "micro_f1": ratio(2 * correct.sum(), (predicted + gold).sum()),
            "macro_f1": per_class[:, 2].mean(),
            "mean_average_precision": average_precision[gold > 0].mean(),
            "per_class": per_class,
        }
        return self.to_float32(values)
