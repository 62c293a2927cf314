"""SQuAD metrics, compared with their published definition, and the threshold with an exhaustive search."""

import functools
import math
import random
import re
import string
from collections import Counter
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from gpt_lightning.errors import InputError
from gpt_lightning.metrics import SpanMetrics
from gpt_lightning.metrics.span import EDGES, exact_match, normalize_answer, token_f1

THRESHOLDS = [*(step / 32 for step in range(-1024, 1025)), math.inf]


@dataclass(frozen=True)
class Question:
    prediction: str
    score: float
    golds: tuple[str, ...]


def reference_normalize(text: str) -> str:
    """Lower the case, then remove punctuation, articles and repeated spaces, in this order."""
    text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


@functools.cache
def reference_scores(prediction: str, golds: tuple[str, ...]) -> tuple[float, float]:
    """Return exact match and F1, the maxima over all answers."""
    best_exact_match, best_f1 = 0.0, 0.0
    for gold in [gold for gold in golds if reference_normalize(gold)] or [""]:
        gold_words, words = reference_normalize(gold).split(), reference_normalize(prediction).split()
        best_exact_match = max(best_exact_match, float(gold_words == words))
        num_shared = sum((Counter(gold_words) & Counter(words)).values())
        if not gold_words or not words:
            f1 = float(gold_words == words)
        elif num_shared == 0:
            f1 = 0.0
        else:
            precision, recall = num_shared / len(words), num_shared / len(gold_words)
            f1 = 2 * precision * recall / (precision + recall)
        best_f1 = max(best_f1, f1)
    return best_exact_match, best_f1


def reference_values(questions: list[Question], threshold: float) -> dict[str, float]:
    """Return all values of ``compute`` except the loss, for this threshold."""
    exact: dict[bool, list[float]] = {True: [], False: []}
    f1: dict[bool, list[float]] = {True: [], False: []}
    for question in questions:
        answerable = bool(question.golds)
        scores = reference_scores(question.prediction, question.golds)
        if question.score >= threshold:
            scores = (float(not answerable),) * 2
        exact[answerable].append(scores[0])
        f1[answerable].append(scores[1])

    def mean(values: list[float]) -> float:
        return math.fsum(values) / len(values)

    values = {
        "exact_match": mean(exact[True] + exact[False]),
        "answer_f1": mean(f1[True] + f1[False]),
        "no_answer_threshold": threshold,
    }
    if exact[True]:
        values |= {"answerable_exact_match": mean(exact[True]), "answerable_f1": mean(f1[True])}
    if exact[False]:
        values |= {"unanswerable_accuracy": mean(exact[False])}
    return values


def reference_best(questions: list[Question]) -> float:
    """Return the threshold with the best F1, the largest one of several."""
    best, best_f1 = math.nan, -1.0
    for threshold in THRESHOLDS:
        f1 = reference_values(questions, threshold)["answer_f1"]
        if f1 > best_f1 + 1e-12 or f1 >= best_f1 - 1e-12:
            best, best_f1 = threshold, max(f1, best_f1)
    return best


def random_questions(number: int, seed: int, unanswerable: float = 0.4) -> list[Question]:
    """Return questions with random scores, higher for unanswerable ones; some are edges, some beyond the last edge."""
    rng = random.Random(seed)
    words = ["the", "a", "red", "Fox,", "ran", "home", "1905", "to", "U.S."]
    questions = []
    for _ in range(number):
        golds = [" ".join(rng.choices(words, k=rng.randint(1, 4))) for _ in range(rng.randint(1, 3))]
        prediction = rng.choice([*golds, " ".join(rng.choices(words, k=rng.randint(1, 4)))])
        is_unanswerable = rng.random() < unanswerable
        score = rng.gauss(3.0 if is_unanswerable else -3.0, rng.choice([2.0, 20.0]))
        score = round(score * 32) / 32 if rng.random() < 0.5 else score
        questions.append(Question(prediction, float(torch.tensor(score)), () if is_unanswerable else tuple(golds)))
    return questions


def build(questions: list[Question], size: int, threshold: float | None = None) -> SpanMetrics:
    metric = SpanMetrics(threshold)
    add(metric, questions, size)
    return metric


def add(metric: SpanMetrics, questions: list[Question], size: int) -> None:
    for start in range(0, len(questions), size):
        batch = questions[start : start + size]
        metric.update(
            torch.tensor(sum(question.score for question in batch) / len(batch)),
            torch.tensor(len(batch)),
            [question.prediction for question in batch],
            torch.tensor([question.score for question in batch]),
            [question.golds for question in batch],
        )


def scalars(metric: SpanMetrics) -> dict[str, float]:
    return {name: float(value) for name, value in metric.compute().items()}


def expected(questions: list[Question], threshold: float) -> dict[str, float]:
    loss = math.fsum(question.score for question in questions) / len(questions)
    return {"loss": loss, **reference_values(questions, threshold)}


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Cat", "cat"),
        ("a  theory of\tan\n apple", "theory of apple"),
        ("U.S. Army!", "us army"),
        ("A.", ""),
        ("the-end", "theend"),
        ("“Été”", "“été”"),
        ("", ""),
    ],
)
def test_normalize_answer_by_hand(text: str, normal: str) -> None:
    assert normalize_answer(text) == reference_normalize(text) == normal


@pytest.mark.parametrize(
    ("prediction", "golds", "exact", "f1"),
    [
        ("the Eiffel Tower", ["Eiffel tower."], 1.0, 1.0),
        ("Eiffel", ["Eiffel tower"], 0.0, 2 / 3),
        ("red red fox", ["red fox fox"], 0.0, 2 / 3),
        ("in 1905", ["1905", "the year 1905", "in 1905 or so"], 0.0, 2 / 3),
        ("blue", ["red"], 0.0, 0.0),
        ("", [], 1.0, 1.0),
        ("the", [], 1.0, 1.0),
        ("red", [], 0.0, 0.0),
        ("", ["red"], 0.0, 0.0),
        ("the", ["the"], 1.0, 1.0),
        ("the", ["the", "red"], 0.0, 0.0),
    ],
)
def test_scores_by_hand(prediction: str, golds: list[str], exact: float, f1: float) -> None:
    assert exact_match(prediction, golds) == exact
    assert token_f1(prediction, golds) == pytest.approx(f1)
    assert reference_scores(prediction, tuple(golds)) == pytest.approx((exact, f1))


def test_scores_match_the_definition() -> None:
    for question in random_questions(2000, 0):
        exact, f1 = reference_scores(question.prediction, question.golds)
        assert exact_match(question.prediction, question.golds) == exact
        assert token_f1(question.prediction, question.golds) == pytest.approx(f1, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("unanswerable", [0.0, 0.4, 1.0])
def test_best_threshold_matches_exhaustive_search(seed: int, unanswerable: float) -> None:
    questions = random_questions(60, seed, unanswerable)
    best = reference_best(questions)
    assert scalars(build(questions, 7)) == pytest.approx(expected(questions, best), rel=1e-6)
    if unanswerable == 0.0:
        assert best == math.inf or best > max(question.score for question in questions)


@pytest.mark.parametrize("threshold", [-32.0, -3.5, 0.0, 1 / 32, 2.71875, 32.0, math.inf])
def test_scores_with_a_fixed_threshold(threshold: float) -> None:
    questions = random_questions(500, 9)
    values = scalars(build(questions, 50, threshold))
    assert values == pytest.approx(expected(questions, threshold), rel=1e-6)
    assert values["no_answer_threshold"] == threshold


def test_score_equal_to_the_threshold_means_no_answer() -> None:
    at, below = torch.tensor(0.5), torch.nextafter(torch.tensor(0.5), torch.tensor(0.0))
    questions = [Question("red", float(at), ("red",)), Question("red", float(below), ("red",))]
    assert scalars(build(questions, 2, 0.5))["answerable_exact_match"] == 0.5
    assert scalars(build(questions, 2, 0.5 + 1 / 32))["answerable_exact_match"] == 1.0


def test_ties_take_the_largest_threshold() -> None:
    questions = [Question("red", -1.0, ("red",)), Question("red", 2.0, ())]
    values = scalars(build(questions, 2))
    assert values["answer_f1"] == values["unanswerable_accuracy"] == 1.0
    assert values["no_answer_threshold"] == 2.0
    # Three F1 of 1/3 must sum to exactly 1. F1 is 1/3 if texts of 1 and 5 words share one word.
    thirds = [Question("red", 1.0, ("red b c d e",)) for _ in range(3)]
    values = scalars(build([*thirds, Question("red", 1.0, ())], 4))
    assert values["no_answer_threshold"] == math.inf


def test_logged_threshold_gives_the_same_scores() -> None:
    questions = random_questions(200, 11)
    chosen = build(questions, 20).compute()["no_answer_threshold"]
    again = build(questions, 20, float(chosen))
    assert again.threshold == float(chosen)
    assert scalars(again) == scalars(build(questions, 20))


def test_thresholds_are_rounded_to_edges() -> None:
    metric = SpanMetrics()
    assert metric.threshold is None
    moves = ((0.26, 0.25), (-100.0, -32.0), (100.0, 32.0), (-math.inf, -32.0), (math.inf, math.inf), (None, None))
    for given, rounded in moves:
        metric.threshold = given
        assert metric.threshold == rounded
    assert EDGES.tolist() == THRESHOLDS[:-1]
    with pytest.raises(InputError, match=r"threshold is NaN\. Give a number, or null"):
        metric.threshold = math.nan


def test_new_threshold_clears_the_cached_result() -> None:
    questions = random_questions(100, 12)
    metric = build(questions, 10, -32.0)
    metric.compute()
    metric.threshold = 1.0
    assert scalars(metric) == pytest.approx(expected(questions, 1.0), rel=1e-6)
    metric.reset()
    assert metric.threshold == 1.0


def test_result_does_not_depend_on_ranks_order_or_batch_size() -> None:
    questions = random_questions(300, 13)
    single_process = build(questions, 300)
    ranks = [build(questions[:3], 2), build(questions[3:200], 30), build(questions[200:], 9)]
    for rank in ranks[1:]:
        ranks[0].merge_state(rank)
    for other in (ranks[0], build(questions[::-1], 16), build(questions, 1)):
        assert scalars(other) == pytest.approx(scalars(single_process), rel=1e-6)
        assert torch.equal(other.histogram, single_process.histogram)


def test_memory_does_not_grow() -> None:
    def size(metric: SpanMetrics) -> int:
        return sum(getattr(metric, name).numel() for name in metric._defaults)

    assert size(build(random_questions(200, 14), 10)) == size(SpanMetrics())


def test_scores_without_questions_are_nan() -> None:
    metric = SpanMetrics(0.0)
    metric.update(torch.tensor(math.nan), torch.tensor(0), [], torch.zeros(0), [])
    values = scalars(metric)
    assert set(values) == {"loss", "exact_match", "answer_f1", "no_answer_threshold"}
    assert all(math.isnan(values[name]) for name in ("loss", "exact_match", "answer_f1"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_modules_and_reset_keep_float32_sums(dtype: torch.dtype) -> None:
    questions = random_questions(100, 15)
    values = expected(questions, 0.5)
    metric = build(questions[:50], 10, 0.5)
    nn.ModuleDict({"metric": metric}).to(dtype)
    add(metric, questions[50:], 10)
    assert scalars(metric) == pytest.approx(values, rel=1e-6)
    metric.reset()
    add(metric, questions, 10)
    assert scalars(metric) == pytest.approx(values, rel=1e-6)
