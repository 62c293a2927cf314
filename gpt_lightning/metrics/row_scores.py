"""Scores of each task as functions of sums over rows, and the statistics of its rows."""

import functools
import operator
from collections.abc import Sequence
from typing import Final

import numpy as np

from gpt_lightning.metrics.entity_f1 import entities
from gpt_lightning.metrics.generated_text import NUM_STATISTICS, sacrebleu_scorers
from gpt_lightning.metrics.row_statistics import Columns, Floats, RowScore
from gpt_lightning.metrics.span import exact_match, token_f1

_STATISTICS: Final = {name: [f"{name}_{number}" for number in range(size)] for name, size in NUM_STATISTICS.items()}
"""Metric of sacrebleu -> names of its statistics."""


def _mean(sums: Floats) -> Floats:
    means: Floats = sums[..., 0] / sums[..., 1]
    return means


def _ratio(sums: Floats) -> Floats:
    """Return the quotient, with 0 / 0 = 0 as in seqeval."""
    return np.where(sums[..., 1] == 0, 0.0, sums[..., 0] / np.where(sums[..., 1] == 0, 1.0, sums[..., 1]))


def _f1(sums: Floats) -> Floats:
    """Return F1 from the numbers of correct, predicted and true labels or entities."""
    return _ratio(np.stack([2 * sums[..., 0], sums[..., 1] + sums[..., 2]], axis=-1))


def _perplexity(sums: Floats) -> Floats:
    perplexity: Floats = np.exp(_mean(sums))
    return perplexity


def _bits_per_byte(sums: Floats) -> Floats:
    bits: Floats = _mean(sums) / np.log(2.0)
    return bits


def _pearson(sums: Floats) -> Floats:
    """Return the correlation from the sums of p, t, p * p, t * t, p * t and 1."""
    p, t, pp, tt, pt, n = np.moveaxis(sums, -1, 0)
    covariance, variances = n * pt - p * t, (n * pp - p * p) * (n * tt - t * t)
    return np.where(variances > 0, covariance / np.sqrt(np.where(variances > 0, variances, 1.0)), np.nan)


def _moments(columns: Columns, names: Sequence[str]) -> Floats:
    """Return the statistics of ``_pearson``, of centered values, so that large means cost no precision."""
    p, t = (_centered(columns[name]) for name in names)
    return np.stack([p, t, p * p, t * t, p * t, np.ones_like(p)], axis=1)


def _centered(values: Floats) -> Floats:
    return np.zeros_like(values) if values.min() == values.max() else values - values.mean()


def _squares(columns: Columns, names: Sequence[str]) -> Floats:
    errors = columns[names[0]] - columns[names[1]]
    return np.stack([errors * errors, np.ones_like(errors)], axis=1)


def _absolute_errors(columns: Columns, names: Sequence[str]) -> Floats:
    errors = columns[names[0]] - columns[names[1]]
    return np.stack([np.abs(errors), np.ones_like(errors)], axis=1)


def _sacrebleu(name: str, sums: Floats) -> Floats:
    scorer = (sacrebleu_scorers() or {})[name]

    def score(statistics: Floats) -> float:
        return float(scorer._compute_score_from_stats(statistics.round().astype(int).tolist()).score)

    scores: Floats = np.apply_along_axis(score, -1, sums)
    return scores


def _of_texts(name: str) -> RowScore:
    columns = tuple(_STATISTICS[name])
    formula = functools.partial(_sacrebleu, name)
    return RowScore(name, columns, formula, counted="texts", is_share=False)


_ACCURACY: Final = RowScore("accuracy", ("correct", "rows"), _mean)
_LOSSES: Final = (
    RowScore("loss", ("nll", "tokens"), _mean, "tokens", is_share=False),
    RowScore("perplexity", ("nll", "tokens"), _perplexity, "tokens", is_share=False),
    RowScore("bits_per_byte", ("nll", "bytes"), _bits_per_byte, "tokens", is_share=False),
)

SINGLE_LABEL: Final = (_ACCURACY,)
MULTI_LABEL: Final = (RowScore("micro_f1", ("matched", "predicted", "gold"), _f1), _ACCURACY)
TAGS: Final = (
    RowScore("entity_f1", ("matched", "predicted", "gold"), _f1),
    RowScore("entity_precision", ("matched", "predicted"), _ratio),
    RowScore("entity_recall", ("matched", "gold"), _ratio),
    RowScore("token_accuracy", ("correct", "words"), _mean),
)
ANSWERS: Final = (
    RowScore("answer_f1", ("f1", "rows"), _mean),
    RowScore("exact_match", ("exact", "rows"), _mean),
)
NUMBERS: Final = (
    RowScore("mse", ("prediction", "target"), _mean, statistics=_squares, is_share=False),
    RowScore("mae", ("prediction", "target"), _mean, statistics=_absolute_errors, is_share=False),
    RowScore("pearson", ("prediction", "target"), _pearson, statistics=_moments, is_share=False),
)
GENERATED: Final = (
    _of_texts("chrf"),
    RowScore("token_f1", ("token_f1", "texts"), _mean, "texts"),
    RowScore("exact_match", ("exact", "texts"), _mean, "texts"),
    _of_texts("bleu"),
    *_LOSSES,
)


def text_columns(texts: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, list[float]]:
    """Return the statistics of generated texts for ``GENERATED``.

    Args:
        texts: generated texts.
        references: correct texts for each text, at least one.
    """
    pairs = list(zip(texts, references, strict=True))
    columns = {
        "texts": [1.0] * len(pairs),
        "exact": [exact_match(text, correct) for text, correct in pairs],
        "token_f1": [token_f1(text, correct) for text, correct in pairs],
    }
    for name, scorer in (sacrebleu_scorers() or {}).items():
        found = [scorer._extract_corpus_statistics([text], [[each] for each in correct])[0] for text, correct in pairs]
        columns |= {key: [float(row[number]) for row in found] for number, key in enumerate(_STATISTICS[name])}
    return columns


def answer_columns(texts: Sequence[str], golds: Sequence[Sequence[str]]) -> dict[str, list[float]]:
    """Return the statistics of answers to questions for ``ANSWERS``.

    Args:
        texts: answer to each question, "" for none.
        golds: accepted answers to each question; none if it cannot be answered.
    """
    pairs = list(zip(texts, golds, strict=True))
    return {
        "rows": [1.0] * len(pairs),
        "exact": [exact_match(text, answers) for text, answers in pairs],
        "f1": [token_f1(text, answers) for text, answers in pairs],
    }


def label_set_columns(predicted_NL: Floats, gold_NL: Floats) -> dict[str, Floats]:
    """Return the statistics of sets of labels for ``MULTI_LABEL``, from 0 and 1 for each row and label."""
    return {
        "matched": (predicted_NL * gold_NL).sum(1),
        "predicted": predicted_NL.sum(1),
        "gold": gold_NL.sum(1),
        "correct": (predicted_NL == gold_NL).all(1).astype(np.float64),
        "rows": np.ones(len(gold_NL)),
    }


def tag_columns(predicted: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> dict[str, list[float]]:
    """Return the statistics of tagged texts for ``TAGS``, from the tags of the words of each text."""
    pairs = list(zip(predicted, gold, strict=True))
    found = [(set(entities(ours)), set(entities(correct))) for ours, correct in pairs]
    return {
        "rows": [1.0] * len(pairs),
        "matched": [float(len(ours & correct)) for ours, correct in found],
        "predicted": [float(len(ours)) for ours, _ in found],
        "gold": [float(len(correct)) for _, correct in found],
        "correct": [float(sum(map(operator.eq, ours, correct))) for ours, correct in pairs],
        "words": [float(len(correct)) for _, correct in pairs],
    }
