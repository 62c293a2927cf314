"""Exact match and F1 of extracted answers, as SQuAD 1.1 and 2.0 define them.

Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, and 2018, https://arxiv.org/abs/1806.03822.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.metrics.loss import MeanLoss

ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)

STEPS_PER_UNIT = 32
LAST_EDGE = 32
EDGES = np.arange(-LAST_EDGE * STEPS_PER_UNIT, LAST_EDGE * STEPS_PER_UNIT + 1, dtype=np.float32) / STEPS_PER_UNIT
"""Candidate thresholds: multiples of 1/32, which all float types and decimal notation represent exactly."""
F1_UNIT = math.lcm(*range(1, 23))
"""Factor that turns F1 into an integer: exact up to 22 words in prediction and gold together, else within 3e-9."""
COUNT, EXACT, F1 = 0, 1, 2
"""Columns of the histogram: number of questions, exact matches, F1 times ``F1_UNIT``."""
ANSWERABLE, UNANSWERABLE = 0, 1
"""Rows of the histogram."""


def normalize_answer(text: str) -> str:
    """Return ``text`` in lower case, without ASCII punctuation and articles, with single spaces."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(NO_PUNCTUATION)).split())


def exact_match(prediction: str, golds: Sequence[str]) -> float:
    """Return 1.0 if the normalized prediction equals one of the answers, else 0.0; no ``golds`` mean the answer ""."""
    return _best_score(lambda gold, answer: float(gold == answer), prediction, golds)


def token_f1(prediction: str, golds: Sequence[str]) -> float:
    """Return the highest word-level F1 with any of the answers; no ``golds`` mean the answer ""."""
    return _best_score(_f1_of_words, prediction, golds)


def _best_score(score: Callable[[str, str], float], prediction: str, golds: Sequence[str]) -> float:
    # As in SQuAD 2.0, answers that normalize to "", such as "the", are dropped if others remain.
    answers = [answer for gold in golds if (answer := normalize_answer(gold))] or [""]
    normalized = normalize_answer(prediction)
    return max(score(normalized, answer) for answer in answers)


def _f1_of_words(prediction: str, gold: str) -> float:
    predicted_words, gold_words = prediction.split(), gold.split()
    if not predicted_words or not gold_words:
        return float(predicted_words == gold_words)
    shared = (Counter(predicted_words) & Counter(gold_words)).total()
    return 2 * shared / (len(predicted_words) + len(gold_words))


def nearest_edge(threshold: float) -> float:
    """Return the threshold in ``EDGES`` that is nearest; infinity, which answers every question, is kept."""
    if math.isnan(threshold):
        raise InputError("the no-answer threshold is NaN. Give a number, or null to choose the best one")
    if threshold == math.inf:
        return threshold
    return round(min(max(threshold, -LAST_EDGE), LAST_EDGE) * STEPS_PER_UNIT) / STEPS_PER_UNIT


class SpanMetrics(MeanLoss):
    """Loss, exact match and F1 of answers, with a threshold on the no-answer score.

    No-answer scores are counted in the bins between ``EDGES``. Memory does not grow with the number of questions,
    ranks can be summed, and the metrics at every edge are exact.

    Args:
        threshold: no-answer score from which a question is answered with "". None chooses the threshold with the best
            overall F1 in ``compute``, the largest one if several are equal. Infinity answers every question.
    """

    histogram: Tensor

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__()
        self.threshold = threshold
        # Indexed by the number of edges at or below the score, ANSWERABLE or UNANSWERABLE, and COUNT, EXACT or F1.
        shape = (len(EDGES) + 1, 2, 3)
        self.add_state("histogram", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def threshold(self) -> float | None:
        """One of ``EDGES``, infinity, or None. Other numbers are rounded to the nearest edge."""
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: float | None) -> None:
        self._threshold = None if threshold is None else nearest_edge(threshold)
        self._computed = None  # clears the result that torchmetrics caches

    def update(
        self,
        mean_loss: Tensor,
        weight: Tensor,
        predictions: Sequence[str],
        no_answer_scores: Tensor,
        golds: Sequence[Sequence[str]],
    ) -> None:
        """Add a batch of N questions.

        Args:
            mean_loss: (), mean over the questions or windows.
            weight: (), number of questions or windows.
            predictions: best answer to each question, regardless of the threshold.
            no_answer_scores: (N,) float, null score minus the score of the best answer.
            golds: accepted answers to each question; none if it cannot be answered.
        """
        self.add_loss(mean_loss, weight)
        scores = no_answer_scores.detach().float().cpu().numpy()
        batch = np.zeros(self.histogram.shape, dtype=np.int64)
        # side="right" counts the edges <= score. Both are float32, as in the comparison with the threshold.
        edges_below = np.searchsorted(EDGES, scores, side="right")
        for below, prediction, answers in zip(edges_below, predictions, golds, strict=True):
            exact, f1 = exact_match(prediction, answers), token_f1(prediction, answers)
            batch[below, ANSWERABLE if answers else UNANSWERABLE] += (1, int(exact), round(f1 * F1_UNIT))
        self.histogram = self.histogram + torch.from_numpy(batch).to(self.histogram.device)

    def compute(self) -> dict[str, Tensor]:
        """Return scalars; shape (), float32.

        Returns:
            ``loss``; ``exact_match`` and ``answer_f1`` over all questions, in [0, 1]; ``no_answer_threshold``, for
            which all of them hold. If there are answerable questions, ``answerable_exact_match`` and ``answerable_f1``.
            If there are unanswerable ones, ``unanswerable_accuracy``, the share that is answered with "".
        """
        histogram = self.histogram.cpu().numpy()
        sums_at_thresholds = _sums_at_thresholds(histogram)
        # The last entry of both arrays is the threshold infinity, which answers every question.
        thresholds = np.append(EDGES, np.float32(np.inf))
        if self.threshold is None:
            overall = sums_at_thresholds[:, :, F1].sum(axis=1)
            chosen = len(overall) - 1 - int(overall[::-1].argmax())
        else:
            chosen = int(np.searchsorted(thresholds, np.float32(self.threshold)))
        questions, sums = histogram.sum(axis=0)[:, COUNT], sums_at_thresholds[chosen]
        values = {
            "loss": self.mean_loss(),
            "exact_match": _mean(sums[:, EXACT].sum(), questions.sum()),
            "answer_f1": _mean(sums[:, F1].sum(), questions.sum() * F1_UNIT),
            "no_answer_threshold": torch.tensor(float(thresholds[chosen])),
        }
        if questions[ANSWERABLE]:
            values["answerable_exact_match"] = _mean(sums[ANSWERABLE, EXACT], questions[ANSWERABLE])
            values["answerable_f1"] = _mean(sums[ANSWERABLE, F1], questions[ANSWERABLE] * F1_UNIT)
        if questions[UNANSWERABLE]:
            values["unanswerable_accuracy"] = _mean(sums[UNANSWERABLE, EXACT], questions[UNANSWERABLE])
        return self.to_float32(values)


def _sums_at_thresholds(histogram: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the sums over all questions for each threshold in ``EDGES`` and infinity: same shape and units."""
    answered = histogram.cumsum(axis=0)
    unanswered = answered[-1] - answered
    # The answer "" scores 0 for an answerable question and 1 for an unanswerable one.
    credit = np.zeros_like(histogram)
    credit[:, UNANSWERABLE, EXACT] = unanswered[:, UNANSWERABLE, COUNT]
    credit[:, UNANSWERABLE, F1] = unanswered[:, UNANSWERABLE, COUNT] * F1_UNIT
    return answered + credit


def _mean(total: np.int64, number: np.int64) -> Tensor:
    """Return the quotient; shape (), float64, NaN for 0 / 0."""
    return torch.tensor(int(total), dtype=torch.float64) / int(number)
