"""Explanation of what a model predicts for a row: attributions and erasure of each decision."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch

from gpt_lightning.data.base import DataModule
from gpt_lightning.data.labeled import Labeled
from gpt_lightning.data.prompts import Prompt, file_prompts, row_prompt
from gpt_lightning.data.sources.row_formats import Row
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.explain.answer_decisions import answer_decisions
from gpt_lightning.evaluation.explain.attention_maps import attention_layers
from gpt_lightning.evaluation.explain.attributions import Attributions, attribute, check_captum
from gpt_lightning.evaluation.explain.decision import Found, Reading, RowDecisions, choose
from gpt_lightning.evaluation.explain.erasure import Erasure, erase
from gpt_lightning.evaluation.explain.internals import Internals, internals
from gpt_lightning.evaluation.explain.model_input import InputToken, Word
from gpt_lightning.evaluation.explain.tag_decisions import tag_decisions
from gpt_lightning.evaluation.explain.text_decisions import label_decisions, value_decisions
from gpt_lightning.evaluation.explain.token_decisions import next_tokens, source_decisions
from gpt_lightning.status import progress
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

_TASKS: Final = (
    CausalLM,
    Seq2SeqLM,
    SequenceClassification,
    SequenceRegression,
    TokenClassification,
    QuestionAnswering,
)
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
        internals: attention, predictions of the layers and losses for the input of the first decision; None if the row
            has no decision, because it has no words.
    """

    id: str
    task: str
    texts: dict[str, str]
    decisions: list[ExplainedDecision]
    num_decisions: int
    internals: Internals | None

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as values that JSON has."""
        return asdict(self)


class Explainer:
    """Explanations of the predictions of one model.

    Args:
        task: the model, in ``eval`` mode.
        tokenizer: tokenizer of the model.
        target: output to explain in place of the prediction: a label, a word or ``WORD=TAG``, an answer in the context,
            or the text that a language model should give. None explains the prediction.
        layers: names of the layers whose attention is returned; None takes the last ones.

    Raises:
        InputError: captum is not installed, the task is not one of gpt_lightning, it reads its texts twice, or a layer
            is unknown.
    """

    def __init__(
        self, task: Task, tokenizer: Tokenizer, target: str | None = None, layers: Sequence[str] | None = None
    ) -> None:
        check_captum()
        if not isinstance(task, _TASKS):
            names = ", ".join(each.__name__ for each in _TASKS)
            raise InputError(f"{type(task).__name__} is not a task that explain reads. Derive it from one of {names}")
        task.layout.check_read_once("explain", "Use a model that was trained with layout.copies=1")
        layer_names = attention_layers(task.backbone)
        for layer in layers or ():
            choose(layer, layer_names, "layer of attention")
        self.task, self.tokenizer, self.target, self.layers = task, tokenizer, target, layers

    def prompts(self, prompts: Iterable[Prompt]) -> Iterator[Explanation]:
        """Yield the explanation of the token after each prompt of a ``CausalLM``."""
        assert isinstance(self.task, CausalLM)
        for number, prompt in enumerate(prompts):
            name = str(prompt.fields.get("id", number))
            try:
                row = next_tokens(self.task, self.tokenizer, prompt, name, self.target)
            except InputError as error:
                raise InputError(f"{prompt.where}: {error}" if prompt.where else str(error)) from None
            yield self._explain(row, number)

    def rows(self, module: DataModule, limit: int | None = None) -> Iterator[Explanation]:
        """Yield the explanation of each row of the test split.

        Args:
            module: data module of the rows.
            limit: maximum number of rows; None explains all.

        Raises:
            InputError: a row is invalid, or the target is not possible.
            RunError: the output of the model is not finite.
        """
        module.prepare_data()
        if isinstance(module, Labeled):
            module.limit_predicted_rows(limit)
        module.setup("predict")
        for number, row in enumerate(islice(self._decisions(module), limit)):
            yield self._explain(row, number)

    @torch.no_grad()
    def _decisions(self, module: DataModule) -> Iterator[RowDecisions]:
        task, layout = self.task, layout_of(self.task, self.tokenizer)
        assert layout is not None
        reading = Reading(self.tokenizer, module, layout, self.target)
        for batch in module.predict_dataloader():
            yield from self._batch_decisions(module.transfer_batch_to_device(batch, task.device, 0), reading)

    def _batch_decisions(self, batch: Mapping[str, Any], reading: Reading) -> Iterator[RowDecisions]:
        task = self.task
        if isinstance(task, SequenceClassification):
            return label_decisions(task, batch, reading)
        if isinstance(task, SequenceRegression):
            return value_decisions(task, batch, reading)
        if isinstance(task, TokenClassification):
            return tag_decisions(task, batch, reading)
        if isinstance(task, QuestionAnswering):
            return answer_decisions(task, batch, reading)
        assert isinstance(task, Seq2SeqLM)
        return source_decisions(task, batch, reading)

    def _explain(self, row: RowDecisions, number: int) -> Explanation:
        explained = row.found[:MAX_DECISIONS]
        with _freeze(self.task), progress(f"Explaining row {number + 1}", len(explained)) as advance:
            decisions = [self._explain_decision(found, advance) for found in explained]
        inside = None
        if row.found:
            # The last decision of an encoder-decoder has the most target tokens.
            chosen = row.found[-1 if isinstance(self.task, Seq2SeqLM) else 0].decision
            inside = internals(chosen, self.tokenizer, self.layers)
        return Explanation(row.id, type(self.task).__name__, row.texts, decisions, len(row.found), inside)

    def _explain_decision(self, found: Found, advance: Callable[[float], object]) -> ExplainedDecision:
        decision, model_input = found
        with torch.no_grad():
            rows = decision.rows([range(len(decision.ids))])
            logits = decision.logits(rows)
            probabilities = decision.probabilities(logits, rows)
            (predicted,) = decision.outcomes(logits, rows)
        attributions = attribute(decision, model_input, self.tokenizer.end_of_text_id, advance)
        return ExplainedDecision(
            kind=decision.kind,
            target=decision.target,
            subject=decision.subject,
            predicted=predicted,
            probability=None if probabilities is None else float(probabilities),
            unit=decision.unit,
            tokens=model_input.tokens,
            words=model_input.words,
            num_cut=model_input.num_cut,
            attributions=attributions,
            erasure=erase(decision, model_input, attributions),
        )


def prompts_of(rows: Path | Iterable[Mapping[str, Any]], limit: int | None = None) -> list[Prompt]:
    """Return the prompts of rows, or of a file of them.

    Args:
        rows: the rows.
        limit: number of first rows to read; None reads all.

    Raises:
        InputError: a row has no prompt, or the file cannot be read.
    """
    if isinstance(rows, Path):
        return file_prompts(rows, reserved=(), limit=limit)
    return [row_prompt(Row(fields, f"row {number}"), reserved=()) for number, fields in enumerate(islice(rows, limit))]


@contextmanager
def _freeze(task: Task) -> Iterator[None]:
    """Turn off the gradients of the weights, which would keep activations in memory."""
    trained = [parameter for parameter in task.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
