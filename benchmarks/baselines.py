"""Scores of the baselines of ``gpt_lightning.evaluation.verdict`` on the rows of a dataset's files."""

import json
from pathlib import Path
from typing import Any

from gpt_lightning.evaluation.verdict import tfidf, trivial
from gpt_lightning.metrics.span import token_f1

Rows = list[dict[str, Any]]


def read(folder: Path, split: str) -> Rows:
    """Read the rows of a split."""
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def trivial_score(folder: Path, config: str) -> float:
    """Return the test score of the trivial baseline for a configuration's task."""
    train, test = read(folder, "train"), read(folder, "test")
    if config.startswith(("slots", "ner")):
        return entity_f1(train, test)
    if config.startswith("qa"):
        return answer_f1(train, test)
    majority = trivial.most_frequent([row["label"] for row in train])
    return float(sum(row["label"] == majority for row in test) / len(test))


def entity_f1(train: Rows, test: Rows) -> float:
    """Return the entity F1 of giving each word its most frequent training tag."""
    from seqeval.metrics import f1_score  # type: ignore[import-untyped]

    words, tags = ([row[column] for row in train] for column in ("tokens", "tags"))
    predicted = trivial.dictionary_tags(words, tags, [row["tokens"] for row in test])
    return float(f1_score([row["tags"] for row in test], predicted, zero_division=0))


def answer_f1(train: Rows, test: Rows) -> float:
    """Return the F1 of the sentence that shares the most words with the question.

    If some training questions have no answer, return the score of never answering, which is higher.
    """
    if any(row["is_impossible"] for row in train):
        return float(sum(row["is_impossible"] for row in test) / len(test))
    scores = [
        token_f1(trivial.similar_sentence(row["question"], row["context"]), [each["text"] for each in row["answers"]])
        for row in test
    ]
    return sum(scores) / len(test)


def tfidf_accuracy(folder: Path) -> float:
    """Return the test accuracy of logistic regression on TF-IDF features."""
    train, validation, test = (read(folder, split) for split in ("train", "validation", "test"))
    texts, labels = zip(*(columns(rows) for rows in (train, validation, test)), strict=True)
    predicted = tfidf.predict_labels(texts[0], labels[0], texts[1], labels[1], texts[2])
    correct = [label == gold for label, gold in zip(predicted, labels[2], strict=True)]
    return correct.count(True) / len(test)


def columns(rows: Rows) -> tuple[list[str], list[str]]:
    """Return the texts and the labels of rows."""
    return [row["text"] for row in rows], [row["label"] for row in rows]
