"""Test rows that occur in the training rows, and contradictory labels, of any data module with labels."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gpt_lightning.data.document_split import normalize_text
from gpt_lightning.data.sequence_tagging import TaggedText
from gpt_lightning.data.sources.squad import Question
from gpt_lightning.data.text_classification import LabeledText
from gpt_lightning.evaluation.verdict import overlap
from gpt_lightning.evaluation.verdict.baselines import prompt_and_answers
from gpt_lightning.evaluation.verdict.overlap import MAX_TEST, MAX_TRAIN
from gpt_lightning.evaluation.verdict.prediction_cache import PredictionCache

MAX_SHOWN: Final = 5
"""Number of places that are named for each finding."""


@dataclass(frozen=True)
class RowOverlap:
    """Overlap of test rows with training rows.

    Attributes:
        test_rows: number of test rows.
        exact: test rows whose text, apart from case and whitespace, is that of a training row.
        exact_places: places of some of them.
        near: further test rows with a near duplicate; None if datasketch is not installed.
        near_places: places of some of them.
        searched_test_rows: number of test rows whose near duplicates were searched.
        searched_train_texts: number of training texts in which they were searched.
        contradictory_train_rows: training rows whose text occurs with different labels; None for rows without labels.
        contradictory_places: places of some of them.
        contradicted_test_rows: test rows whose text occurs in training, but never with their label.
    """

    test_rows: int
    exact: int
    exact_places: list[str]
    near: int | None
    near_places: list[str]
    searched_test_rows: int
    searched_train_texts: int
    contradictory_train_rows: int | None
    contradictory_places: list[str]
    contradicted_test_rows: int | None


def row_overlap(train: Sequence[Any], test: Sequence[Any], cache: PredictionCache) -> RowOverlap:
    """Return the overlap of test rows with training rows.

    Rows are equal if their complete texts are, apart from case and whitespace. ``inspect`` compares the tokens that
    the model reads instead, within one split (``evaluation/inspection/statistics.py``).

    Args:
        train: training examples.
        test: test examples.
        cache: cache of near duplicates.
    """
    train_texts, texts = ([normalize_text(text_of(example)) for example in rows] for rows in (train, test))
    known = set(train_texts)
    exact = [example.where for example, text in zip(test, texts, strict=True) if text in known]
    others = [(example, text) for example, text in zip(test, texts, strict=True) if text not in known][:MAX_TEST]
    searched = list(dict.fromkeys(train_texts))[:MAX_TRAIN]
    near: list[str] | None = None
    if overlap.is_installed():
        found = cache.predictions(
            overlap.near_duplicates, searched, [text for _, text in others], like=0, text="Searching near duplicates"
        )
        near = [example.where for (example, _), row in zip(others, found, strict=True) if row >= 0]
    groups = contradicted = None
    if train and label_of(train[0]) is not None:
        labels = [label_of(example) for example in train]
        groups = [row for rows in overlap.contradictions(train_texts, labels) for row in rows]
        labels_of: dict[str, set[Hashable]] = {}
        for text, label in zip(train_texts, labels, strict=True):
            labels_of.setdefault(text, set()).add(label)
        contradicted = overlap.contradicted_rows(labels_of, texts, [label_of(example) for example in test])
    return RowOverlap(
        test_rows=len(test),
        exact=len(exact),
        exact_places=exact[:MAX_SHOWN],
        near=None if near is None else len(near),
        near_places=(near or [])[:MAX_SHOWN],
        searched_test_rows=len(exact) + len(others),
        searched_train_texts=len(searched),
        contradictory_train_rows=None if groups is None else len(groups),
        contradictory_places=[train[row].where for row in (groups or [])[:MAX_SHOWN]],
        contradicted_test_rows=None if contradicted is None else len(contradicted),
    )


def text_of(example: Any) -> str:
    """Return the text of an example: of a question, with its context; of a pair or a conversation, the prompt."""
    if isinstance(example, LabeledText | TaggedText):
        return example.text
    if isinstance(example, Question):
        return f"{example.question}\n{example.context}"
    return prompt_and_answers(example)[0]


def label_of(example: Any) -> Hashable:
    """Return the labels or tags of an example; None for answers, several of which may be correct."""
    if isinstance(example, LabeledText):
        return tuple(sorted(example.labels))
    return example.tags if isinstance(example, TaggedText) else None
