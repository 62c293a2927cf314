"""Simple baselines of each data module, trained on its training rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from gpt_lightning.data.conversations import Conversation
from gpt_lightning.data.instruction_tuning import InstructionTuning
from gpt_lightning.data.reading_comprehension import ReadingComprehension
from gpt_lightning.data.sequence_tagging import SequenceTagging, TaggedText
from gpt_lightning.data.sources.squad import Question
from gpt_lightning.data.text_classification import LabeledText, TextClassification
from gpt_lightning.data.text_regression import TextRegression
from gpt_lightning.data.text_to_text import TextPair, TextToText
from gpt_lightning.evaluation.verdict import tfidf, trivial
from gpt_lightning.evaluation.verdict.prediction_cache import PredictionCache
from gpt_lightning.metrics.row_scores import answer_columns, label_set_columns, tag_columns, text_columns
from gpt_lightning.metrics.row_statistics import Columns, Floats

# N rows, L labels


KNOWN: Final = (LabeledText, TaggedText, Question, TextPair, Conversation)
"""Examples that have baselines. A data module of the user's own may have others."""


@dataclass(frozen=True)
class Rows:
    """Examples of the three splits; those of ``test`` are in the order of the model's statistics."""

    train: Sequence[Any]
    validation: Sequence[Any]
    test: Sequence[Any]


@dataclass(frozen=True)
class Baselines:
    """Baselines for one kind of rows.

    Attributes:
        trivial_name: description of the trivial baseline.
        trivial: function from rows to the statistics of the trivial baseline on the test rows.
        tfidf_name: description of the baseline on TF-IDF features.
        tfidf: the same function for TF-IDF; None if there is none for these rows.
    """

    trivial_name: str
    trivial: Callable[[Rows], Columns]
    tfidf_name: str = ""
    tfidf: Callable[[Rows, PredictionCache], Columns] | None = None


def has_tfidf(data: object) -> bool:
    """Return whether the rows of a data module have a baseline on TF-IDF features."""
    found = baselines_for(data, ())
    return found is not None and found.tfidf is not None


def baselines_for(data: object, train: Sequence[Any]) -> Baselines | None:
    """Return the baselines for the rows of a data module; None for data modules of the user's own.

    Args:
        data: the data module.
        train: its training examples.
    """
    if isinstance(data, TextRegression):
        return Baselines("mean of the training targets", _mean, "TF-IDF with ridge regression", _ridge)
    if isinstance(data, TextClassification):
        is_large = tfidf.is_large(len(train), len({label for example in train for label in example.labels}))
        name = f"TF-IDF with {'naive Bayes' if is_large else 'logistic regression'}"
        if data.multi_label:
            label_sets = _LabelSets(data)
            return Baselines("labels of most rows", label_sets.frequent, name, label_sets.logistic)
        return Baselines("most frequent label", _frequent_label, name, _logistic)
    if isinstance(data, SequenceTagging):
        return Baselines("most frequent tag of each word", _dictionary_tags)
    if isinstance(data, ReadingComprehension):
        has_unanswerable = any(not example.answers for example in train)
        return (
            Baselines("no answer", _no_answer)
            if has_unanswerable
            else Baselines("most similar sentence", _similar_sentence)
        )
    if isinstance(data, TextToText | InstructionTuning):
        return Baselines(
            "most frequent training answer",
            _frequent_answer,
            "the answer of the most similar training prompt",
            _nearest_answers,
        )
    return None


def _label_statistics(predicted: Sequence[str], test: Sequence[LabeledText]) -> Columns:
    correct = [float(label == example.labels[0]) for label, example in zip(predicted, test, strict=True)]
    return {"correct": np.array(correct), "rows": np.ones(len(test))}


def _labels(examples: Sequence[LabeledText]) -> list[str]:
    return [example.labels[0] for example in examples]


def _texts(examples: Sequence[LabeledText]) -> list[str]:
    return [example.text for example in examples]


def _frequent_label(rows: Rows) -> Columns:
    return _label_statistics([trivial.most_frequent(_labels(rows.train))] * len(rows.test), rows.test)


def _logistic(rows: Rows, cache: PredictionCache) -> Columns:
    labels = _labels(rows.train)
    if len(set(labels)) < 2:
        return _frequent_label(rows)
    arguments = _texts(rows.train), labels, _texts(rows.validation), _labels(rows.validation), _texts(rows.test)
    return _label_statistics(cache.predictions(tfidf.predict_labels, *arguments, like=""), rows.test)


def _numbers(examples: Sequence[LabeledText]) -> list[float]:
    return [float(example.labels[0]) for example in examples]


def _number_statistics(predicted: Sequence[float] | Floats, test: Sequence[LabeledText]) -> Columns:
    return {"rows": np.ones(len(test)), "prediction": np.array(predicted), "target": np.array(_numbers(test))}


def _mean(rows: Rows) -> Columns:
    return _number_statistics([float(np.mean(_numbers(rows.train)))] * len(rows.test), rows.test)


def _ridge(rows: Rows, cache: PredictionCache) -> Columns:
    train, validation = rows.train, rows.validation
    arguments = _texts(train), _numbers(train), _texts(validation), _numbers(validation), _texts(rows.test)
    return _number_statistics(cache.predictions(tfidf.predict_numbers, *arguments, like=0.0), rows.test)


class _LabelSets:
    """Baselines of multi-label classification.

    Args:
        data: data module with the labels, which are read when the first rows are compared.
    """

    def __init__(self, data: TextClassification) -> None:
        self._data = data

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self._data.labels)}

    def frequent(self, rows: Rows) -> Columns:
        """Predict the labels that more than half of the training rows have; without one, the most frequent label."""
        shares_L = self._matrix(rows.train).mean(axis=0)
        chosen_L = (shares_L > min(0.5, shares_L.max() * (1 - 1e-9))).astype(np.float64)
        gold_NL = self._matrix(rows.test)
        return label_set_columns(np.broadcast_to(chosen_L, gold_NL.shape), gold_NL)

    def logistic(self, rows: Rows, cache: PredictionCache) -> Columns:
        """Predict each label by logistic regression."""
        train, validation = self._matrix(rows.train), self._matrix(rows.validation)
        arguments = _texts(rows.train), train, _texts(rows.validation), validation, _texts(rows.test)
        predicted = cache.predictions(tfidf.predict_label_sets, *arguments, like=[0.0] * train.shape[1])
        return label_set_columns(np.array(predicted, dtype=np.float64), self._matrix(rows.test))

    def _matrix(self, examples: Sequence[LabeledText]) -> Floats:
        """Return 0 or 1 for each row and label, (N, L)."""
        matrix_NL = np.zeros((len(examples), len(self._numbers)))
        for row, example in enumerate(examples):
            matrix_NL[row, [self._numbers[label] for label in example.labels]] = 1.0
        return matrix_NL


def words_of(example: TaggedText) -> list[str]:
    """Return the words of a tagged text."""
    return [example.text[start:stop] for start, stop in example.words]


def _dictionary_tags(rows: Rows) -> Columns:
    train, test = ([words_of(example) for example in examples] for examples in (rows.train, rows.test))
    predicted = trivial.dictionary_tags(train, [example.tags for example in rows.train], test)
    return _arrays(tag_columns(predicted, [example.tags for example in rows.test]))


def _golds(test: Sequence[Question]) -> list[list[str]]:
    return [[text for text, _ in example.answers] for example in test]


def _no_answer(rows: Rows) -> Columns:
    return _arrays(answer_columns([""] * len(rows.test), _golds(rows.test)))


def _similar_sentence(rows: Rows) -> Columns:
    found = [trivial.similar_sentence(example.question, example.context) for example in rows.test]
    return _arrays(answer_columns(found, _golds(rows.test)))


def prompt_and_answers(example: TextPair | Conversation) -> tuple[str, Sequence[str]]:
    """Return the source and the correct texts of a pair or a conversation."""
    if isinstance(example, Conversation):
        return example.prompt, example.references
    return example.source, example.targets


def _answer_statistics(texts: Sequence[str], test: Sequence[Any]) -> Columns:
    return _arrays(text_columns(texts, [prompt_and_answers(example)[1] for example in test]))


def _frequent_answer(rows: Rows) -> Columns:
    answers = [prompt_and_answers(example)[1][0] for example in rows.train]
    return _answer_statistics([trivial.most_frequent(answers)] * len(rows.test), rows.test)


def _nearest_answers(rows: Rows, cache: PredictionCache) -> Columns:
    pairs = [prompt_and_answers(example) for example in rows.train]
    prompts, asked = [prompt for prompt, _ in pairs], [prompt_and_answers(example)[0] for example in rows.test]
    answers = [texts[0] for _, texts in pairs]
    return _answer_statistics(cache.predictions(tfidf.nearest_answers, prompts, answers, asked, like=""), rows.test)


def _arrays(columns: dict[str, list[float]]) -> Columns:
    return {name: np.array(values) for name, values in columns.items()}
