"""Explanation of what a model predicts for a row: attributions and erasure of each decision."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from gpt_lightning.data.base import DataModule
from gpt_lightning.data.prompts import Prompt
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.explain.attributions import Attributions, attribute
from gpt_lightning.evaluation.explain.erasure import Erasure, erase
from gpt_lightning.evaluation.explain.find_decisions import Found, HeadReader, RowDecisions
from gpt_lightning.evaluation.explain.find_tokens import next_tokens, target_tokens
from gpt_lightning.evaluation.explain.model_input import InputToken, Word
from gpt_lightning.tasks import (
    CausalLM,
    QuestionAnswering,
    Seq2SeqLM,
    SequenceClassification,
    SequenceRegression,
    Task,
    TokenClassification,
)
from gpt_lightning.tasks.export_tokenizer import layout_of
from gpt_lightning.tokenizers.tokenizer import Tokenizer

MAX_DECISIONS: Final = 8
"""Number of decisions about a row that are explained, such as its entities."""


@dataclass(frozen=True)
class ExplainedDecision:
    """Decision of a model, and the tokens and words that it depends on.

    Attributes:
        kind: ``label``, ``value``, ``tag``, ``answer`` or ``token``.
        target: output that is explained.
        subject: words that a tag is about, or the target text before a token; empty for other decisions.
        predicted: output that the model chooses; it differs from ``target`` only if the target was given.
        probability: probability of the target; None for numbers.
        unit: unit of the scores and of the contributions.
        tokens: tokens of the input.
        words: words of the input.
        num_cut: tokens of the texts that are not in the input, because it is full.
        attributions: contributions of the tokens and words.
        erasure: words without which the decision changes; None if the target is not the prediction.
    """

    kind: str
    target: str
    subject: str
    predicted: str
    probability: float | None
    unit: str
    tokens: list[InputToken]
    words: list[Word]
    num_cut: int
    attributions: Attributions
    erasure: Erasure | None


@dataclass(frozen=True)
class Explanation:
    """Explanation of what a model predicts for a row.

    Attributes:
        id: id of the row.
        task: name of the task.
        texts: texts of the row by name.
        decisions: explained decisions.
        num_decisions: number of all decisions about the row, of which the first ``MAX_DECISIONS`` are explained.
    """

    id: str
    task: str
    texts: dict[str, str]
    decisions: list[ExplainedDecision]
    num_decisions: int
