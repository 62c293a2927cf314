"""Comparison of a head's predictions for a row and for its twin with swapped words.

A record is what the task's ``predict_step`` returns for a row. Places are ranges of characters in the twin's text.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpt_lightning.data.labeled import Example
from gpt_lightning.data.sequence_tagging import TaggedText
from gpt_lightning.data.sources.squad import Question
from gpt_lightning.data.text_classification import LabeledText
from gpt_lightning.data.word_swaps.swaps import SwappedText
from gpt_lightning.errors import InputError
from gpt_lightning.metrics.entity_f1 import entities
from gpt_lightning.metrics.span import exact_match

Record = Mapping[str, Any]
_Place = tuple[int, int]
_Move = Callable[[int, int], _Place]


@dataclass(frozen=True)
class RowComparison:
    """Predictions for a row and for its twin. Each pair has the original first.

    Attributes:
        id: id of the row.
        where: location of the row.
        texts: text of the row and of the twin.
        group: 0 or 1 if all swapped words of the row are of one group; None if it has words of both.
        answers: predictions as text.
        scores: scores by name, such as the probability of each label.
        errors: error of each prediction; None without a label.
        change: distance between the predictions; 0 if they are equal.
        is_changed: whether the prediction differs; None for numbers.
    """

    id: str
    where: str
    texts: tuple[str, str]
    group: int | None
    answers: tuple[str, str]
    scores: tuple[dict[str, float], dict[str, float]]
    errors: tuple[float, float] | None
    change: float
    is_changed: bool | None


@dataclass(frozen=True)
class _Outcome:
    """Prediction for one version of a row."""

    answer: str
    decision: Hashable
    scores: dict[str, float]
    error: float | None
    parts: Mapping[Any, float]
    """Probabilities, numbers or entities that the prediction consists of."""


def compare(
    example: Example, twin: Example, swapped: Sequence[SwappedText], records: tuple[Record, Record], *, has_labels: bool
) -> RowComparison:
    """Return the comparison of a row and its twin.

    Args:
        example: the row.
        twin: the row with swapped words.
        swapped: texts of the row after the swap, in the order in which the data module swaps them.
        records: predictions for the row and for the twin.
        has_labels: whether the rows have labels; without them there are no errors.
    """
    versions: list[tuple[Any, Record, _Move]] = [
        (example, records[0], swapped[0].moved),
        (twin, records[1], lambda start, end: (start, end)),
    ]
    distance = _half_of_differences
    if isinstance(twin, TaggedText):
        words = [swapped[0].moved(each.start, each.end) for each in swapped[0].replacements]
        outcomes = [_tag_outcome(twin, record, move, words) for _, record, move in versions]
        distance = _jaccard_distance
    elif isinstance(example, Question):
        outcomes = [_answer_outcome(each, record, move, has_labels) for each, record, move in versions]
    elif isinstance(example, LabeledText):
        outcomes = [_labeled(each, record, has_labels) for each, record, _ in versions]
        if "label" not in records[0]:
            distance = _largest_difference
    else:
        raise InputError(
            f"rows of the kind {type(example).__name__} cannot be compared. Use a data module of gpt_lightning"
        )
    first, second = outcomes
    groups = {each.group for text in swapped for each in text.replacements}
    errors = None if first.error is None or second.error is None else (first.error, second.error)
    return RowComparison(
        str(example.id),
        example.where,
        (_text(example), _text(twin)),
        groups.pop() if len(groups) == 1 else None,
        (first.answer, second.answer),
        (first.scores, second.scores),
        errors,
        distance(first.parts, second.parts),
        None if "value" in records[0] else first.decision != second.decision,
    )


def _text(example: Any) -> str:
    return f"{example.question}\n{example.context}" if isinstance(example, Question) else str(example.text)


def _labeled(example: LabeledText, record: Record, has_labels: bool) -> _Outcome:
    """Return the outcome of classification or regression."""
    if "value" in record:
        value = record["value"]
        error = abs(value - float(example.labels[0])) if has_labels else None
        return _Outcome(f"{value:.4g}", value, {"value": value}, error, {"value": value})
    predicted = record["labels"] if "labels" in record else [record["label"]]
    error = float(set(predicted) != set(example.labels)) if has_labels else None
    return _Outcome(", ".join(predicted), tuple(predicted), record["scores"], error, record["scores"])


def _tag_outcome(twin: TaggedText, record: Record, move: _Move, words: Sequence[_Place]) -> _Outcome:
    """Return the outcome of token classification.

    Args:
        twin: the twin with its tags, if it has any.
        record: prediction for the row or for the twin.
        move: function that maps the places of the prediction to those of the twin's text.
        words: places of the swapped words in the twin's text.
    """
    places = [move(each["start"], each["end"]) for each in record["entities"]]
    found = {(each["label"], *place) for each, place in zip(record["entities"], places, strict=True)}
    gold = {(label, twin.words[first][0], twin.words[stop - 1][1]) for label, first, stop in entities(twin.tags)}
    num_recognized = sum(any(start < stop and first < end for start, end in places) for first, stop in words)
    answer = ", ".join(f"{each['text']} ({each['label']})" for each in record["entities"])
    return _Outcome(
        answer or "no entity",
        frozenset(found),
        {"swapped words in an entity": num_recognized / len(words)},
        len(gold - found) / len(gold) if gold else None,
        dict.fromkeys(found, 1.0),
    )


def _answer_outcome(example: Question, record: Record, move: _Move, has_labels: bool) -> _Outcome:
    """Return the outcome of question answering, a distribution over places and "no answer"."""
    candidates, golds = record["n_best"], [text for text, _ in example.answers]
    parts: Counter[_Place | None] = Counter({None: record["no_answer_score"]})
    for each in candidates:
        parts[move(each["start"], each["end"])] += each["score"]
    decision = move(candidates[0]["start"], candidates[0]["end"]) if record["answer"] else None
    if not has_labels:
        scores = {"best answer": max([each["score"] for each in candidates], default=0.0)}
        return _Outcome(record["answer"] or "no answer", decision, scores, None, parts)
    correct = [each["score"] for each in candidates if golds and exact_match(each["text"], golds) == 1.0]
    return _Outcome(
        record["answer"] or "no answer",
        decision,
        {"correct answer": sum(correct) if golds else record["no_answer_score"]},
        1.0 - exact_match(record["answer"], golds),
        parts,
    )


def _differences(first: Mapping[Any, float], second: Mapping[Any, float]) -> list[float]:
    return [abs(first.get(key, 0.0) - second.get(key, 0.0)) for key in {**first, **second}]


def _half_of_differences(first: Mapping[Any, float], second: Mapping[Any, float]) -> float:
    """Return the total variation distance of two distributions."""
    return 0.5 * sum(_differences(first, second))


def _largest_difference(first: Mapping[Any, float], second: Mapping[Any, float]) -> float:
    return max(_differences(first, second), default=0.0)


def _jaccard_distance(first: Mapping[Any, float], second: Mapping[Any, float]) -> float:
    """Return the share of two sets' elements that only one of them has."""
    union = {**first, **second}
    return sum(_differences(first, second)) / len(union) if union else 0.0
