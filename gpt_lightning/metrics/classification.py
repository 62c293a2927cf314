"""Metrics of single-label and multi-label classification."""

import torch
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.metrics.loss import MeanLoss

# B rows, L labels, E bin edges of probabilities
PROBABILITY_EDGES = torch.linspace(-16.0, 16.0, 2049, dtype=torch.float64).sigmoid().float()
"""Bin edges, (E,), 1/64 of a logit apart, which also rank the low probabilities of rare labels finely."""
PROBABILITY_EDGES[0] = 0.0
HALF_INDEX = len(PROBABILITY_EDGES) // 2  # sigmoid(0), exactly 0.5


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the quotient in float64, with 0 / 0 = 0 as in scikit-learn and seqeval."""
    quotient = numerator.double() / denominator.double()
    return torch.where(denominator == 0, torch.zeros_like(quotient), quotient)


def scores_per_class(correct: Tensor, predicted: Tensor, gold: Tensor) -> Tensor:
    """Return precision, recall, F1 and support, (L, 4) float64, from (L,) counts each.

    Args:
        correct: number of correct predictions of each label.
        predicted: number of predictions.
        gold: number of occurrences in the data.
    """
    f1 = ratio(2 * correct, predicted + gold)
    return torch.stack([ratio(correct, predicted), ratio(correct, gold), f1, gold.double()], dim=1)


class ClassificationMetrics(MeanLoss):
    """Loss, accuracy and F1 of single-label classification, from a confusion matrix.

    Args:
        num_labels: number of labels.
    """

    confusion: Tensor

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.add_state("confusion", torch.zeros(num_labels, num_labels, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, mean_loss: Tensor, weight: Tensor, predicted: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            mean_loss: (), mean over the labeled rows.
            weight: (), number of labeled rows, or the sum of their weights.
            predicted: (B,) int64.
            labels: (B,) int64; rows with ``IGNORE_INDEX`` are not counted.
        """
        self.add_loss(mean_loss, weight)
        counted = (labels != IGNORE_INDEX).long()
        cell = labels * counted * self.num_labels + predicted
        self.confusion = self.confusion.flatten().index_add(0, cell, counted).view_as(self.confusion)

    def compute(self) -> dict[str, Tensor]:
        """Return scalars, a table per class, and the confusion matrix.

        Returns:
            ``loss``, ``accuracy``, ``macro_f1`` (over the labels that occur or were predicted) and ``weighted_f1`` (by
            support): (), float32, NaN without rows. ``per_class``: (L, 4), precision, recall, F1 and support.
            ``confusion_matrix``: (L, L) int64, a row per true label and a column per predicted label.
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
    """Loss, accuracy, F1 and average precision of multi-label classification.

    A label is predicted if its probability is at least 0.5. Probabilities are counted in the bins between
    ``PROBABILITY_EDGES``, which takes 32 KiB per label for any number of rows. Average precision treats the
    probabilities in a bin as equal; a bin is 1/64 of a logit wide (0.004 near 0.5). The result equals that of
    torchmetrics' ``MultilabelAveragePrecision(thresholds=PROBABILITY_EDGES)``, but an update costs time proportional
    to the number of labels instead of labels times edges.

    Args:
        num_labels: number of labels.
    """

    counts: Tensor
    rows: Tensor

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels
        # Indexed by bin, label, and whether the row has the label.
        shape = (len(PROBABILITY_EDGES), num_labels, 2)
        self.add_state("counts", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        # Number of rows whose labels are all correct, and number of rows.
        self.add_state("rows", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, mean_loss: Tensor, weight: Tensor, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            mean_loss: (), mean over the labeled rows.
            weight: (), number of labeled rows, or the sum of their weights.
            probabilities: (B, L) float.
            labels: (B, L) int64, 0 or 1; rows with ``IGNORE_INDEX`` are not counted.
        """
        self.add_loss(mean_loss, weight)
        probabilities = probabilities.detach().float().contiguous()
        counted_B = (labels != IGNORE_INDEX).all(1)
        counted = counted_B[:, None].expand_as(labels).long()
        gold = labels * counted

        bins = torch.bucketize(probabilities, PROBABILITY_EDGES.to(probabilities.device), right=True) - 1
        column = torch.arange(self.num_labels, device=labels.device)
        cell = (bins * self.num_labels + column) * 2 + gold
        flat = self.counts.flatten().index_add(0, cell.flatten(), counted.flatten())
        self.counts = flat.view_as(self.counts)

        correct = ((probabilities >= 0.5).long() == gold).all(1) & counted_B
        self.rows = self.rows + torch.stack([correct.sum(), counted_B.sum()])

    def compute(self) -> dict[str, Tensor]:
        """Return scalars and a table per class.

        Returns:
            ``loss``, ``micro_f1``, ``macro_f1`` (over all labels), ``mean_average_precision`` (over the labels that
            occur) and ``accuracy`` (share of rows whose labels are all correct): (), float32. ``per_class``: (L, 4),
            precision, recall, F1 and support.
        """
        counts, rows = self.counts.cpu(), self.rows.cpu()
        gold = counts[:, :, 1].sum(0)
        predicted = counts[HALF_INDEX:].sum((0, 2))
        correct = counts[HALF_INDEX:, :, 1].sum(0)
        per_class = scores_per_class(correct, predicted, gold)

        # Precision with each edge as the threshold, times the share of the label's rows in the bin above the edge.
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
