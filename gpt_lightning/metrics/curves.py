"""Precision-recall curve and calibration of class probabilities, from counts in bins.

N predictions, L labels, E bins of probabilities.
"""

from itertools import pairwise
from typing import Final

import numpy as np
import torch
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.metrics.classification import PROBABILITY_EDGES

CONFIDENCE_BINS: Final = 15
"""Bins of equal width from 0 to 1 for the confidence of predictions; a bin contains its upper edge."""
_CONFIDENCE_EDGES: Final = torch.from_numpy(np.linspace(0.0, 1.0, CONFIDENCE_BINS + 1)[1:-1])


class ProbabilityCurves:
    """Counts of probabilities, from which curves of any number of predictions are computed.

    Args:
        multi_label: whether a row has any number of labels. Each label is then a prediction of its own, and its
            confidence is the probability of the more likely answer, yes or no.
    """

    def __init__(self, multi_label: bool) -> None:
        self.multi_label = multi_label
        self._counts = torch.zeros(
            len(PROBABILITY_EDGES), 2, dtype=torch.int64
        )  # by bin and whether the label is right
        self._confidences = torch.zeros(
            CONFIDENCE_BINS, 3, dtype=torch.float64
        )  # sum, correct predictions, predictions

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add predictions.

        Args:
            logits: (N, L).
            labels: (N,) int64, or (N, L) of 0 and 1 for ``multi_label``. Rows with ``IGNORE_INDEX`` or with a
                logit that is not finite are left out.
        """
        logits, labels = logits.double().cpu(), labels.cpu()
        is_labeled = labels[:, 0] != IGNORE_INDEX if self.multi_label else labels != IGNORE_INDEX
        is_counted = is_labeled & logits.isfinite().all(1)
        logits, labels = logits[is_counted], labels[is_counted]
        if self.multi_label:
            probabilities, is_right = logits.sigmoid(), labels.long()
            confidence = torch.maximum(probabilities, 1.0 - probabilities).flatten()
            correct = ((probabilities >= 0.5).long() == labels).flatten()
        else:
            probabilities = logits.softmax(1)
            is_right = torch.zeros_like(probabilities, dtype=torch.int64).scatter_(1, labels[:, None], 1)
            confidence, predicted = probabilities.max(1)
            correct = predicted == labels
        bins = torch.bucketize(probabilities, PROBABILITY_EDGES.double(), right=True) - 1
        cells = (bins * 2 + is_right).flatten()
        self._counts += torch.bincount(cells, minlength=self._counts.numel()).view_as(self._counts)
        places = torch.bucketize(confidence, _CONFIDENCE_EDGES)
        columns = torch.stack([confidence, correct.double(), torch.ones_like(confidence)], dim=1)
        self._confidences.index_add_(0, places, columns)

    def reliability(self) -> list[tuple[float, float, int]]:
        """Return mean confidence, accuracy and number of predictions of each bin that has any."""
        bins = self._confidences.tolist()
        return [(total / count, correct / count, int(count)) for total, correct, count in bins if count]

    def calibration_error(self) -> float:
        """Return the mean distance of accuracy and confidence, weighted by predictions (ECE); NaN without any."""
        totals, correct, counts = self._confidences.unbind(1)
        return float((totals - correct).abs().sum() / counts.sum())

    def precision_recall(self) -> list[tuple[float, float]]:
        """Return recall and precision for each bin edge as the threshold, from the highest that has predictions."""
        positive, total = self._counts[:, 1].flip(0).cumsum(0), self._counts.sum(1).flip(0).cumsum(0)
        changes = torch.cat([total[:1] > 0, total[1:] > total[:-1]])
        recall, precision = positive / positive[-1], positive / total
        return list(zip(recall[changes].tolist(), precision[changes].tolist(), strict=True))

    def average_precision(self) -> float:
        """Return the sum of precision times the gain in recall over all thresholds."""
        points = [(0.0, 0.0), *self.precision_recall()]
        return sum((recall - before) * precision for (before, _), (recall, precision) in pairwise(points))
