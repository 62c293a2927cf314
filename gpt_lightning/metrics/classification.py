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
MAX_MATRIX_LABELS = 500
"""Number of labels up to which a confusion matrix is kept, whose size is the square of it."""
MAX_FINE_LABELS = 1000
"""Number of labels up to which every edge is used; with more labels, every eighth, which takes less memory."""
CHUNK_LABELS = 256
"""Number of labels whose cumulative counts are computed at once, to bound memory."""


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
    """Loss, accuracy and F1 of single-label classification, with a confusion matrix of up to 500 labels.

    Args:
        num_labels: number of labels.
    """

    counts: Tensor
    confusion: Tensor

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.has_matrix = num_labels <= MAX_MATRIX_LABELS
        # Correct predictions, predictions and rows of each label.
        self.add_state("counts", torch.zeros(3, num_labels, dtype=torch.int64), dist_reduce_fx="sum")
        if self.has_matrix:
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
        gold = labels * counted
        correct = counted * (gold == predicted)
        kinds = torch.arange(3, device=labels.device).repeat_interleave(len(labels)) * self.num_labels
        cells = kinds + torch.cat([gold, predicted, gold])
        flat = self.counts.flatten().index_add(0, cells, torch.cat([correct, counted, counted]))
        self.counts = flat.view_as(self.counts)
        if self.has_matrix:
            cells = gold * self.num_labels + predicted
            self.confusion = self.confusion.flatten().index_add(0, cells, counted).view_as(self.confusion)

    def compute(self) -> dict[str, Tensor]:
        """Return scalars, a table per class, and the confusion matrix.

        Returns:
            ``loss``, ``accuracy``, ``macro_f1`` (over the labels that occur or were predicted) and ``weighted_f1`` (by
            support): (), float32, NaN without rows. ``per_class``: (L, 4), precision, recall, F1 and support.
            ``confusion_matrix``: (L, L) int64, a row per true label and a column per predicted label, unless there are
            too many labels.
        """
        correct, predicted, gold = self.counts.cpu()
        per_class = scores_per_class(correct, predicted, gold)
        f1 = per_class[:, 2]
        values = {
            "loss": self.mean_loss(),
            "accuracy": correct.sum().double() / gold.sum(),
            "macro_f1": f1[predicted + gold > 0].mean(),
            "weighted_f1": (f1 * gold).sum() / gold.sum(),
            "per_class": per_class,
        }
        matrix = {"confusion_matrix": self.confusion} if self.has_matrix else {}
        return {**self.to_float32(values), **matrix}


class MultiLabelMetrics(MeanLoss):
    """Loss, accuracy, F1 and average precision of multi-label classification.

    A label is predicted if its probability reaches its threshold. Probabilities are counted in the bins between
    ``PROBABILITY_EDGES``, which takes 32 KiB per label for any number of rows. Average precision treats the
    probabilities in a bin as equal; a bin is 1/64 of a logit wide (0.004 near 0.5), or 1/8 for more than 1,000 labels.
    The result equals that of torchmetrics' ``MultilabelAveragePrecision(thresholds=PROBABILITY_EDGES)``, but an update
    costs time proportional to the number of labels instead of labels times edges.

    Args:
        num_labels: number of labels.
        thresholds: (L,) thresholds, rounded to the nearest edges; 0.5 by default.
    """

    counts: Tensor
    rows: Tensor

    def __init__(self, num_labels: int, thresholds: Tensor | None = None) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.edges = PROBABILITY_EDGES if num_labels <= MAX_FINE_LABELS else PROBABILITY_EDGES[::8].contiguous()
        self.tunes_thresholds = False
        """Set this to choose the threshold of each label with the best F1 in ``compute``."""
        self.set_thresholds(torch.full((num_labels,), 0.5) if thresholds is None else thresholds)
        # Indexed by bin, label, and whether the row has the label.
        shape = (len(self.edges), num_labels, 2)
        self.add_state("counts", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        # Number of rows whose labels are all correct, and number of rows.
        self.add_state("rows", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def thresholds(self) -> Tensor:
        """Probability from which each label is predicted, (L,) float32 on the CPU."""
        return self.edges[self._thresholds]

    def set_thresholds(self, thresholds: Tensor) -> None:
        """Set the thresholds, (L,), rounded to the nearest edges."""
        above = torch.searchsorted(self.edges, thresholds.float().contiguous()).clamp(1, len(self.edges) - 1)
        is_below = thresholds - self.edges[above - 1] < self.edges[above] - thresholds
        self._thresholds = above - is_below.long()
        self._computed = None  # clears the result that torchmetrics caches

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

        bins = torch.bucketize(probabilities, self.edges.to(probabilities.device), right=True) - 1
        column = torch.arange(self.num_labels, device=labels.device)
        cell = (bins * self.num_labels + column) * 2 + gold
        flat = self.counts.flatten().index_add(0, cell.flatten(), counted.flatten())
        self.counts = flat.view_as(self.counts)

        predicted = (probabilities >= self.thresholds.to(probabilities.device)).long()
        correct = (predicted == gold).all(1) & counted_B
        self.rows = self.rows + torch.stack([correct.sum(), counted_B.sum()])

    def compute(self) -> dict[str, Tensor]:
        """Return scalars and a table per class.

        Returns:
            ``loss``, ``micro_f1``, ``macro_f1`` (over all labels), ``mean_average_precision`` (over the labels that
            occur) and ``accuracy`` (share of rows whose labels are all correct): (), float32. ``per_class``: (L, 4),
            precision, recall, F1 and support.
        """
        parts = [self._of_labels(chunk) for chunk in torch.split(torch.arange(self.num_labels), CHUNK_LABELS)]
        correct, predicted, gold, average_precision = torch.cat(parts, dim=1)
        per_class = scores_per_class(correct, predicted, gold)
        rows = self.rows.cpu()
        values = {
            "loss": self.mean_loss(),
            "accuracy": rows[0].double() / rows[1],
            "micro_f1": ratio(2 * correct.sum(), (predicted + gold).sum()),
            "macro_f1": per_class[:, 2].mean(),
            "mean_average_precision": average_precision[gold > 0].mean(),
            "per_class": per_class,
        }
        return self.to_float32(values)

    def _of_labels(self, labels: Tensor) -> Tensor:
        """Return correct predictions, predictions, rows and average precision of some labels, (4, K) float64.

        With ``tunes_thresholds``, choose their thresholds first.
        """
        counts = self.counts[:, labels.to(self.counts.device)].cpu()
        # Numbers of rows whose probability reaches each edge: those with the label, and all.
        positive, total = counts[:, :, 1].flip(0).cumsum(0).flip(0), counts.sum(2).flip(0).cumsum(0).flip(0)
        gold = positive[0]
        if self.tunes_thresholds:
            f1 = ratio(2 * positive, total + gold)
            distance = (torch.arange(len(self.edges)) - len(self.edges) // 2).abs()
            # Of the edges with the highest F1, the nearest to 0.5.
            nearest = torch.where(f1 == f1.max(0).values, distance[:, None], len(self.edges)).argmin(0)
            self._thresholds[labels] = torch.where(gold > 0, nearest, self._thresholds[labels])
        chosen = self._thresholds[labels][None]
        # Precision with each edge as the threshold, times the share of the label's rows in the bin above the edge.
        average_precision = (ratio(positive, total) * counts[:, :, 1] / gold).sum(0)
        correct, predicted = positive.gather(0, chosen)[0], total.gather(0, chosen)[0]
        return torch.stack([correct.double(), predicted.double(), gold.double(), average_precision])
