"""Linear models on TF-IDF features of words and pairs of words, from scikit-learn."""

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.errors import InputError

# N rows, L labels
Floats = NDArray[np.float64]

STRENGTHS: Final = (1.0, 10.0, 100.0)
"""Inverse regularization strengths, of which the validation rows choose one."""
MAX_CELLS: Final = 1_000_000
"""Product of rows and labels up to which logistic regression is fitted. Beyond, it would take minutes."""
_CHUNK_ROWS: Final = 256
"""Number of prompts whose similarities are in memory at once."""
INSTALL: Final = "pip install 'gpt-lightning[verdict]'"


def is_installed() -> bool:
    """Return whether scikit-learn is installed."""
    return importlib.util.find_spec("sklearn") is not None


def check_installed(option: str) -> None:
    """Refuse an option that needs scikit-learn if it is not installed.

    Raises:
        InputError: it is not installed.
    """
    if not is_installed():
        raise InputError(f"{option} needs scikit-learn, which is not installed. Install it: {INSTALL}")


def is_large(num_rows: int, num_labels: int) -> bool:
    """Return whether naive Bayes replaces logistic regression, which would take minutes."""
    return num_rows * num_labels > MAX_CELLS


def predict_labels(
    train: Sequence[str],
    labels: Sequence[str],
    validation: Sequence[str],
    validation_labels: Sequence[str],
    texts: Sequence[str],
) -> list[str]:
    """Return the labels that logistic regression predicts or, if there are many rows and labels, naive Bayes.

    Args:
        train: training texts.
        labels: their labels, at least two different ones.
        validation: texts that select the regularization.
        validation_labels: their labels.
        texts: texts to classify.
    """
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.naive_bayes import ComplementNB  # type: ignore[import-untyped]

    features = _Features(train)
    if is_large(len(train), len(set(labels))):
        return list(ComplementNB().fit(features.train, list(labels)).predict(features.of(texts)))

    def fit(strength: float) -> Any:
        return LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(features.train, list(labels))

    def accuracy(model: Any) -> float:
        return float(model.score(features.of(validation), list(validation_labels)))

    with _ignore_warnings():
        return list(_best_model(fit, accuracy, STRENGTHS).predict(features.of(texts)))


def predict_label_sets(
    train: Sequence[str], labels_NL: Floats, validation: Sequence[str], validation_NL: Floats, texts: Sequence[str]
) -> Floats:
    """Return 0 or 1 for each text and label, from one model of ``predict_labels`` for each label.

    Args:
        train: training texts.
        labels_NL: 0 or 1 for each of them and each label.
        validation: texts that select the regularization.
        validation_NL: their labels.
        texts: texts to classify.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier  # type: ignore[import-untyped]
    from sklearn.naive_bayes import ComplementNB

    features = _Features(train)
    is_bayes = is_large(*labels_NL.shape)

    def fit(strength: float) -> Any:
        each = ComplementNB() if is_bayes else LogisticRegression(C=strength, max_iter=200, tol=1e-3)
        return OneVsRestClassifier(each).fit(features.train, labels_NL.astype(int))

    def predict(model: Any, texts: Sequence[str]) -> Floats:
        # With a single label, scikit-learn returns a vector.
        predicted = np.asarray(model.predict(features.of(texts)), dtype=np.float64)
        return predicted.reshape(len(texts), labels_NL.shape[1])

    def micro_f1(model: Any) -> float:
        predicted = predict(model, validation)
        return float(2 * (predicted * validation_NL).sum() / max(1.0, (predicted + validation_NL).sum()))

    with _ignore_warnings():
        return predict(_best_model(fit, micro_f1, STRENGTHS[:1] if is_bayes else STRENGTHS), texts)


def predict_numbers(
    train: Sequence[str],
    numbers: Sequence[float],
    validation: Sequence[str],
    validation_numbers: Sequence[float],
    texts: Sequence[str],
) -> Floats:
    """Return the numbers that ridge regression predicts.

    Args:
        train: training texts.
        numbers: their targets.
        validation: texts that select the regularization.
        validation_numbers: their targets.
        texts: texts to predict.
    """
    from sklearn.linear_model import Ridge

    features = _Features(train)

    def fit(strength: float) -> Any:
        return Ridge(alpha=10.0 / strength).fit(features.train, np.asarray(numbers))

    def negative_error(model: Any) -> float:
        return -float(np.square(model.predict(features.of(validation)) - np.asarray(validation_numbers)).mean())

    with _ignore_warnings():
        return np.asarray(_best_model(fit, negative_error, STRENGTHS).predict(features.of(texts)), dtype=np.float64)


def nearest_answers(prompts: Sequence[str], answers: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Return the answer to the training prompt that is most similar to each prompt, by the cosine of TF-IDF features.

    Args:
        prompts: training prompts.
        answers: their answers.
        asked: prompts to answer.
    """
    features = _Features(prompts)
    found: list[str] = []
    for start in range(0, len(asked), _CHUNK_ROWS):
        # Rows have unit length, so that products are cosines.
        cosines = features.of(asked[start : start + _CHUNK_ROWS]) @ features.train.T
        found += [answers[int(index)] for index in np.asarray(cosines.argmax(axis=1)).ravel()]
    return found


class _Features:
    """TF-IDF features of words and pairs of words; of characters if the texts have no words of two letters.

    Args:
        texts: training texts, which define the vocabulary.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

        self._vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        try:
            self.train = self._vectorizer.fit_transform(texts)
        except ValueError:  # an empty vocabulary
            self._vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
            self.train = self._vectorizer.fit_transform(texts)

    def of(self, texts: Sequence[str]) -> Any:
        """Return the features of texts, a sparse matrix."""
        return self._vectorizer.transform(texts)


def _best_model(fit: Callable[[float], Any], score: Callable[[Any], float], strengths: Sequence[float]) -> Any:
    """Return the model with the best score on the validation rows, the first of equally good ones."""
    return max(map(fit, strengths), key=score)


@contextmanager
def _ignore_warnings() -> Iterator[None]:
    """Hide warnings about fits that stop before convergence, and about labels that all rows or none have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
