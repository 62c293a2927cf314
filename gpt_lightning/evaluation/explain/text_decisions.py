"""Decisions about whole texts: labels and numbers.

B rows, T tokens, L labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.explain.decision import (
    Decision,
    Found,
    Reading,
    RowDecisions,
    Rows,
    choose,
    example_of,
    log_odds,
    window_ids,
)
from gpt_lightning.evaluation.explain.model_input import ModelInput, decoded_input, encode, truncated_input
from gpt_lightning.metrics import MultiLabelMetrics
from gpt_lightning.tasks import SequenceClassification, SequenceRegression, Task
from gpt_lightning.tasks.finite import require_finite


class LabelDecision(Decision):
    """Label of a text, or in multi-label classification whether the text has the label."""

    kind = "label"

    def __init__(self, task: SequenceClassification, ids: Sequence[int], label: int) -> None:
        super().__init__(task, ids, task.classes[label])
        self.task, self.label = task, label

    def logits(self, rows: Rows) -> Tensor:
        """Return the logits of all labels, (B, L)."""
        logits_BL: Tensor = self.task(rows.input_ids, rows.attention_mask)
        return logits_BL.float()

    def scores(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the log-odds of the label."""
        if self.task.multi_label:
            return logits[:, self.label]
        return log_odds(logits, torch.full((len(logits),), self.label, device=logits.device))

    def outcomes(self, logits: Tensor, rows: Rows) -> list[str]:
        """Return the predicted label; in multi-label classification, the label or "not" and the label."""
        if not self.task.multi_label:
            return [self.task.classes[label] for label in logits.argmax(1).tolist()]
        assert isinstance(self.task.test_metrics, MultiLabelMetrics)
        threshold = self.task.test_metrics.thresholds[self.label].item()
        names = {True: self.target, False: f"not {self.target}"}
        return [names[each] for each in (logits[:, self.label].sigmoid() >= threshold).tolist()]

    def probabilities(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the probability of the label."""
        return self.scores(logits, rows).sigmoid()


class ValueDecision(Decision):
    """Predicted number, which counts as another one when it has moved by a standard deviation of the targets."""

    kind, unit = "value", "unit of the targets"

    def __init__(self, task: SequenceRegression, ids: Sequence[int], value: float) -> None:
        super().__init__(task, ids, f"{value:.4g}")
        self.task, self.value = task, value

    def logits(self, rows: Rows) -> Tensor:
        """Return the predictions in the unit of the targets, (B,)."""
        predictions_B: Tensor = self.task(rows.input_ids, rows.attention_mask)
        return predictions_B.float() * self.task.target_std + self.task.target_mean

    def scores(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the predicted number."""
        return logits

    def outcomes(self, logits: Tensor, rows: Rows) -> list[str]:
        """Return the target for numbers near it, and other numbers as they are."""
        numbers: list[float] = logits.tolist()
        return [self.target if abs(each - self.value) < self.task.target_std else f"{each:.4g}" for each in numbers]

    def probabilities(self, logits: Tensor, rows: Rows) -> None:
        """Return None."""

    def rank(self, score: float) -> float:
        """Return a number that is lower, the further a number is from the predicted one."""
        return -abs(score - self.value)


def label_decisions(task: SequenceClassification, batch: Mapping[str, Any], reading: Reading) -> Iterator[RowDecisions]:
    """Yield the decisions about each text of a batch: its predicted labels, or the most probable one if there is none.

    Raises:
        InputError: the target is no label.
        RunError: the output of the model is not finite.
    """
    logits_BL = task(batch["input_ids"], batch["attention_mask"]).float()
    require_finite(logits_BL, batch["ids"])
    given = None if reading.target is None else [choose(reading.target, task.classes, "label")]
    for row, name in enumerate(batch["ids"]):
        texts, model_input = _text_input(task, batch, row, reading)
        labels = given or _predicted_labels(task, logits_BL[row])
        found = [Found(LabelDecision(task, model_input.ids, label), model_input) for label in labels]
        yield RowDecisions(name, texts, found)


def _predicted_labels(task: SequenceClassification, logits_L: Tensor) -> list[int]:
    order: list[int] = logits_L.argsort(descending=True).tolist()
    if not task.multi_label:
        return order[:1]
    assert isinstance(task.test_metrics, MultiLabelMetrics)
    is_predicted = logits_L.sigmoid().cpu() >= task.test_metrics.thresholds.cpu()
    return [label for label in order if is_predicted[label]] or order[:1]


def value_decisions(task: SequenceRegression, batch: Mapping[str, Any], reading: Reading) -> Iterator[RowDecisions]:
    """Yield the decision about each text of a batch: its predicted number.

    Raises:
        InputError: there is a target.
        RunError: the output of the model is not finite.
    """
    if reading.target is not None:
        raise InputError("target: a SequenceRegression has only one output. Leave the target out")
    predictions_B = task(batch["input_ids"], batch["attention_mask"]).float()
    require_finite(predictions_B, batch["ids"])
    for row, name in enumerate(batch["ids"]):
        texts, model_input = _text_input(task, batch, row, reading)
        value = float(predictions_B[row]) * task.target_std + task.target_mean
        yield RowDecisions(name, texts, [Found(ValueDecision(task, model_input.ids, value), model_input)])


def _text_input(task: Task, batch: Mapping[str, Any], row: int, reading: Reading) -> tuple[dict[str, str], ModelInput]:
    """Return the texts of a row by name, and its input."""
    name, module = batch["ids"][row], reading.module
    given: Sequence[str] = getattr(example_of(module, name), "texts", batch["texts"][row : row + 1])
    names = ["text"] if len(given) == 1 else getattr(module, "text_columns", ["first", "second"])
    texts = dict(zip(names, given, strict=True))
    encoded = [encode(reading.tokenizer, name, text) for name, text in texts.items()]
    found = truncated_input(reading.tokenizer, reading.layout, encoded, task.backbone.config.block_size)
    ids = window_ids(batch, row)
    return texts, found if found.ids == ids else decoded_input(reading.tokenizer, ids, "text")
