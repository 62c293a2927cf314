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
"""Thresholds that can be chosen. Multiples of a power of 1/2: float16, float32, float64 and decimals say the same."""
F1_UNIT = math.lcm(*range(1, 23))
"""Sums of F1 are kept as integers of this part of 1: exact up to 22 tokens in prediction and gold, else to 3e-9."""
COUNT, EXACT, F1 = 0, 1, 2
ANSWERABLE, UNANSWERABLE = 0, 1


def normalise_answer(text: str) -> str:
    """Lower case, without ASCII punctuation and articles, one space between words."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(NO_PUNCTUATION)).split())


def exact_match(prediction: str, golds: Sequence[str]) -> float:
    """1.0 if the prediction is one of the answers after ``normalise_answer``, else 0.0; no answers mean ""."""
    return _best(lambda gold, answer: float(gold == answer), prediction, golds)


def token_f1(prediction: str, golds: Sequence[str]) -> float:
    """The best F1 of words shared with one of the answers; no answers mean "", which only "" matches."""
    return _best(_f1_of_words, prediction, golds)


def _best(score: Callable[[str, str], float], prediction: str, golds: Sequence[str]) -> float:
    # SQuAD 2.0 drops answers of which nothing is left, such as "the", as long as others remain.
    answers = [answer for gold in golds if (answer := normalise_answer(gold))] or [""]
    normal = normalise_answer(prediction)
    return max(score(normal, answer) for answer in answers)


def _f1_of_words(prediction: str, gold: str) -> float:
    predicted_words, gold_words = prediction.split(), gold.split()
    if not predicted_words or not gold_words:
        return float(predicted_words == gold_words)
    shared = (Counter(predicted_words) & Counter(gold_words)).total()
    return 2 * shared / (len(predicted_words) + len(gold_words))


def nearest_edge(threshold: float) -> float:
    """The threshold of ``EDGES`` that is nearest, or infinity, which stands for: always answer."""
    if math.isnan(threshold):
        raise InputError("the no-answer threshold is nan; give a number, or null to choose the best one")
    if threshold == math.inf:
        return threshold
    return round(min(max(threshold, -LAST_EDGE), LAST_EDGE) * STEPS_PER_UNIT) / STEPS_PER_UNIT


class SpanMetrics(MeanLoss):
    """Loss, exact match and F1 of answers, where a question counts as unanswerable from a score of a threshold on.

    Scores are counted between ``EDGES``, so that memory does not grow with questions and ranks add up, and yet the
    measures at every edge are exact.

    Args:
        threshold: a question whose no-answer score (float32) is at least this is answered with "". None chooses the
            best for overall F1 at ``compute``, the largest of equals; infinity always answers.
    """

    histogram: Tensor

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__()
        self.threshold = threshold
        # Edges at or below the score, whether it can be answered, (questions, their exact match and F1 if answered).
        shape = (len(EDGES) + 1, 2, 3)
        self.add_state("histogram", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def threshold(self) -> float | None:
        """One of ``EDGES``, infinity, or None; a number between edges is moved to the nearest."""
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: float | None) -> None:
        self._threshold = None if threshold is None else nearest_edge(threshold)
        self._computed = None  # else torchmetrics would return what it computed with the old one

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
            mean_loss: () the mean over the questions or windows.
            weight: () how many.
            predictions: the best answer of each question that is not "".
            no_answer_scores: (N,) float, the score of no answer less that of the best one.
            golds: the answers of each question, all equally right; none if it cannot be answered.
        """
        self.add_loss(mean_loss, weight)
        scores = no_answer_scores.detach().float().cpu().numpy()
        batch = np.zeros(self.histogram.shape, dtype=np.int64)
        # side="right" counts the edges <= score. Both are float32, as is a score that is compared with a threshold.
        edges_below = np.searchsorted(EDGES, scores, side="right")
        for below, prediction, answers in zip(edges_below, predictions, golds, strict=True):
            exact, f1 = exact_match(prediction, answers), token_f1(prediction, answers)
            batch[below, ANSWERABLE if answers else UNANSWERABLE] += (1, int(exact), round(f1 * F1_UNIT))
        self.histogram = self.histogram + torch.from_numpy(batch).to(self.histogram.device)

    def compute(self) -> dict[str, Tensor]:
        """() float32 each; ``answerable_*`` and ``unanswerable_*`` only where there are such questions.

        ``loss``, ``exact_match`` and ``answer_f1`` of all, ``answerable_exact_match``, ``answerable_f1``,
        ``unanswerable_accuracy`` (answered with ""), in [0, 1], and the ``no_answer_threshold`` they hold for.
        """
        histogram = self.histogram.cpu().numpy()
        at_edges = _at_edges(histogram)
        # The last entry of each is without a threshold: always answer.
        thresholds = np.append(EDGES, np.float32(np.inf))
        if self.threshold is None:
            overall = at_edges[:, :, F1].sum(axis=1)
            chosen = len(overall) - 1 - int(overall[::-1].argmax())
        else:
            chosen = int(np.searchsorted(thresholds, np.float32(self.threshold)))
        questions, sums = histogram.sum(axis=0)[:, COUNT], at_edges[chosen]
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


def _at_edges(histogram: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """What ``histogram`` adds up to if each edge, or none, were the threshold: same shape and units."""
    answered = histogram.cumsum(axis=0)
    unanswered = answered[-1] - answered
    # "" is wrong for a question with answers, and right in full for one without.
    credit = np.zeros_like(histogram)
    credit[:, UNANSWERABLE, EXACT] = unanswered[:, UNANSWERABLE, COUNT]
    credit[:, UNANSWERABLE, F1] = unanswered[:, UNANSWERABLE, COUNT] * F1_UNIT
    return answered + credit


def _mean(total: np.int64, number: np.int64) -> Tensor:
    """() float64, nan for none of none."""
    return torch.tensor(int(total), dtype=torch.float64) / int(number)
