"""Influence of training rows: losses and metrics of a model that was trained with them and of one without them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor

from gpt_lightning.data import ReadingComprehension, SequenceTagging, TextClassification, TextRegression
from gpt_lightning.data.base import DataModule
from gpt_lightning.models.device import device_of
from gpt_lightning.tasks import Task

MAX_ROWS: Final = 1_000
"""Number of rows whose losses are compared; of more, evenly spread ones are taken."""
MAX_CHANGES: Final = 50
"""Number of rows in the report."""
_EXCERPT_TOKENS: Final = 60

T = TypeVar("T")


@dataclass(frozen=True)
class RowLoss:
    """Loss of a row under both models."""

    id: str
    text: str
    """Beginning of the row."""
    labels: float
    """Number of labels, or the sum of their weights."""
    loss_with: float
    """Mean loss per label, in nats for cross-entropy, of the model that was trained with the rows."""
    loss_without: float

    @property
    def change(self) -> float:
        """Loss without the rows minus loss with them."""
        return self.loss_without - self.loss_with


@dataclass(frozen=True)
class Losses:
    """Mean loss over the labels of some rows under both models."""

    rows: int
    loss_with: float
    loss_without: float


@dataclass(frozen=True)
class Influence:
    """Comparison of two models.

    Attributes:
        removed: loss on the removed rows themselves; None if nothing was removed.
        validation: loss on the compared validation rows; None without validation data.
        changes: change of the loss of each compared validation row, from the model with the rows to that without them.
        most_changed: validation rows whose loss has changed most.
        metrics: name of a validation metric -> its value with and without the rows.
    """

    removed: Losses | None
    validation: Losses | None
    changes: list[float]
    most_changed: list[RowLoss]
    metrics: dict[str, tuple[float, float]]


def influence(with_rows: Task, without_rows: Task, data: DataModule) -> Influence:
    """Compare a model that was trained with some rows and one without them.

    Args:
        with_rows: model that was trained with the rows.
        without_rows: model that was trained without them.
        data: data module after ``setup("fit")``, in which the rows are masked.
    """
    models = (with_rows.eval(), without_rows.eval())
    masked = data.masked_rows
    removed = [] if masked is None else list(row_losses(models, data, _spread(masked.originals())))
    rows = list(row_losses(models, data, _validation_batches(data))) if data.has_validation else []
    most_changed = sorted((row for row in rows if row.change), key=lambda row: -abs(row.change))[:MAX_CHANGES]
    changes = [row.change for row in rows]
    return Influence(_mean(removed), _mean(rows), changes, most_changed, _metrics(models, data))


@torch.no_grad()
def row_losses(models: tuple[Task, Task], data: DataModule, batches: Iterable[Any]) -> Iterator[RowLoss]:
    """Yield the losses of rows without labels that are ignored.

    Args:
        models: two models in ``eval`` mode.
        data: data module of the batches.
        batches: batches of one row each.
    """
    device = device_of("auto")
    for model in models:
        model.to(device)
    for batch in batches:
        moved = data.transfer_batch_to_device(batch, device, 0)
        weight = float(models[0].weight(moved))
        if weight > 0.0:
            ids = batch["input_ids"][0, :_EXCERPT_TOKENS].tolist()
            losses = (float(model.step(moved, "train")) for model in models)
            yield RowLoss(batch["ids"][0], data.tokenizer.decode(ids).strip(), weight, *losses)


def _validation_batches(data: DataModule) -> Iterator[Any]:
    rows = data.rows("validation")
    for number in _spread(range(len(rows))):
        yield rows.batch(0, np.array([number]), 0)


def _spread(items: Iterable[T]) -> list[T]:
    """Return at most ``MAX_ROWS`` items, evenly spread."""
    kept: list[T] = []
    step = 1
    for number, item in enumerate(items):
        if number % step == 0:
            kept.append(item)
        if len(kept) > MAX_ROWS:
            kept, step = kept[::2], 2 * step
    return kept


def _mean(rows: list[RowLoss]) -> Losses | None:
    if not rows:
        return None
    total = sum(row.labels for row in rows)
    loss_with, loss_without = (
        sum(row.labels * loss for row, loss in zip(rows, losses, strict=True)) / total
        for losses in ([row.loss_with for row in rows], [row.loss_without for row in rows])
    )
    return Losses(len(rows), loss_with, loss_without)


def _metrics(models: tuple[Task, Task], data: DataModule) -> dict[str, tuple[float, float]]:
    """Return the validation metrics of both models by name."""
    if not data.has_validation:
        return {}
    found: list[Mapping[str, Tensor]] = []
    for model in models:
        trainer = L.Trainer(
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.validate(model, datamodule=data, verbose=False)
        found.append(trainer.callback_metrics)
    return {
        name.removeprefix("val/"): (float(value), float(found[1][name]))
        for name, value in found[0].items()
        if name in found[1]
    }


def unmasked_traces(task: Task, data: DataModule, tokenizer: str) -> list[str]:
    """Return what still depends on the removed rows, because it is kept equal, as phrases.

    Args:
        task: the model.
        data: data module of its training.
        tokenizer: the option ``data.tokenizer`` of the run.
    """
    traces = ["the number of removed rows, their places in the order, and their lengths in tokens"]
    if tokenizer == "characters" or tokenizer.startswith("bpe:"):
        traces.append(f"the tokenizer, which was trained on them too (data.tokenizer={tokenizer})")
    elif tokenizer != "bytes":
        traces.append(f"the tokenizer, if it was trained on them (data.tokenizer={tokenizer})")
    has_labels = isinstance(data, SequenceTagging | TextClassification) and not isinstance(data, TextRegression)
    if has_labels and data.given_labels is None:  # type: ignore[attr-defined]
        traces.append("the list of labels, which was collected from all rows (data.labels)")
    if getattr(task, "is_balanced", False):
        traces.append("the weights of the labels, which count all rows (model.class_weights=balanced)")
    if isinstance(data, ReadingComprehension) and data.has_unanswerable("train"):
        traces.append("whether some training questions have no answer, which sets the threshold for no answer")
    if isinstance(data, TextRegression):
        traces.append("the mean and the standard deviation of the targets, by which they are normalized")
    if isinstance(data, SequenceTagging) and data.given_word_rules is None:
        traces.append("the rules by which words are split, which fit all rows (data.word_rules)")
    if data.holds_out_validation:
        traces.append("the choice of the rows that are held out for validation")
    return traces
