"""Baselines without a neural network: majority label, dictionary, shared words, TF-IDF with logistic regression."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]

from gpt_lightning.metrics.span import token_f1

Rows = list[dict[str, Any]]


def read(folder: Path, split: str) -> Rows:
    """Read the rows of a split."""
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def trivial(folder: Path, config: str) -> float:
    """Return the test score of the trivial baseline for a configuration's task."""
    train, test = read(folder, "train"), read(folder, "test")
    if config.startswith(("slots", "ner")):
        return dictionary(train, test)
    if config.startswith("qa"):
        return nearest_sentence(train, test)
    majority = Counter(row["label"] for row in train).most_common(1)[0][0]
    return float(sum(row["label"] == majority for row in test) / len(test))


def dictionary(train: Rows, test: Rows) -> float:
    """Return the entity F1 of giving each word its most frequent training tag, and ``O`` to unknown words."""
    from seqeval.metrics import f1_score  # type: ignore[import-untyped]

    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for row in train:
        for word, tag in zip(row["tokens"], row["tags"], strict=True):
            seen[word.lower()][tag] += 1
    tags = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
    predicted = [[tags.get(word.lower(), "O") for word in row["tokens"]] for row in test]
    return float(f1_score([row["tags"] for row in test], predicted, zero_division=0))


def nearest_sentence(train: Rows, test: Rows) -> float:
    """Return the F1 of the sentence that shares most words with the question.

    If some training questions have no answer, return the score of never answering, which is higher.
    """
    if any(row["is_impossible"] for row in train):
        return float(sum(row["is_impossible"] for row in test) / len(test))
    total = 0.0
    for row in test:
        asked = set(row["question"].lower().split())
        sentences = row["context"].split(". ")
        best = max(sentences, key=lambda sentence: len(asked & set(sentence.lower().split())))
        total += token_f1(best, [answer["text"] for answer in row["answers"]])
    return total / len(test)


def bag_of_words(folder: Path) -> float:
    """Return the test accuracy of logistic regression on TF-IDF features of words and word pairs.

    The validation rows select the regularization.
    """
    train, validation, test = (read(folder, split) for split in ("train", "validation", "test"))

    def fit(strength: float) -> Any:
        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            LogisticRegression(C=strength, max_iter=200, tol=1e-3),
        )
        return model.fit([row["text"] for row in train], [row["label"] for row in train])

    def accuracy(model: Any, rows: Rows) -> float:
        return float(model.score([row["text"] for row in rows], [row["label"] for row in rows]))

    return accuracy(max(map(fit, (1.0, 10.0, 100.0)), key=lambda model: accuracy(model, validation)), test)
