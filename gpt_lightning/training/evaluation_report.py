"""Callback that prints the results of ``test`` and ``validate`` and writes ``metrics.json``."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.checkpoints.run_folder import run_of
from gpt_lightning.errors import is_full
from gpt_lightning.evaluation.verdict.table import print_verdict
from gpt_lightning.metrics.generated_text import signatures
from gpt_lightning.output_files import json_bytes, write_error
from gpt_lightning.tasks import Task
from gpt_lightning.tasks.base import Stage
from gpt_lightning.training.answer_samples import print_answers
from gpt_lightning.training.verdict import Verdict

MAX_ROWS = 20
"""Number of classes in the printed table. With more classes, it shows those with the lowest F1."""

COLUMNS = ("precision", "recall", "f1", "support")


class Evaluation(L.Callback):
    """Callback that prints the metrics, and after ``test`` writes them to ``metrics.json`` in the checkpoint's run.

    Args:
        model_folder: folder of a Hugging Face model that is evaluated in place of a checkpoint.
        verdict: callback that compares the tested model with baselines.
    """

    def __init__(self, model_folder: Path | None = None, verdict: Verdict | None = None) -> None:
        self.record: dict[str, Any] | None = None
        self._verdict = verdict
        self._model_folder = model_folder
        self._step: int | None = None

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember the step of the checkpoint, which the trainer does not restore for an evaluation."""
        self._step = checkpoint.get("global_step")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the metrics of ``validate``."""
        if trainer.state.fn == "validate" and trainer.is_global_zero and isinstance(pl_module, Task):
            print_tables(_metrics(trainer, "val"), _per_class(pl_module, "val"))
            print_answers(pl_module.answer_examples)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the metrics and the verdict, and write them unless only a part of the data was tested."""
        if trainer.state.fn != "test" or not isinstance(pl_module, Task):
            return
        if trainer.is_global_zero:
            print_tables(_metrics(trainer, "test"), _per_class(pl_module, "test"))
            print_answers(pl_module.answer_examples)
            # The metrics are written before the verdict, so that an error in the verdict cannot lose them.
            self._write(trainer, pl_module)
        verdict = None if self._verdict is None else self._verdict.finish(trainer, pl_module)
        if verdict is not None:
            print_verdict(verdict)
            self._add(verdict, trainer)

    def _write(self, trainer: L.Trainer, pl_module: Task) -> None:
        """Write the metrics of a test."""
        metrics, per_class = _metrics(trainer, "test"), _per_class(pl_module, "test")
        checkpoint = self._tested(trainer)
        if checkpoint is None:
            return
        self.record = {"task": type(pl_module).__name__, "checkpoint": checkpoint.name}
        if self._step is not None:
            self.record["step"] = self._step
        self.record["data"] = _test_source(trainer)
        self.record["metrics"] = {name.removeprefix("test/"): _finite_or_none(value) for name, value in metrics.items()}
        if per_class:
            self.record["per_class"] = per_class
        if "references" in pl_module.tables["test"]:
            num_texts, fewest, most = pl_module.tables["test"]["references"].tolist()
            self.record["generation"] = {"examples": num_texts, "signatures": signatures(fewest, most)}
        matrix = pl_module.tables["test"].get("confusion_matrix")
        if matrix is not None:
            self.record["confusion_matrix"] = {"labels": list(pl_module.classes), "rows": matrix.tolist()}
        if not tests_all_rows(trainer):
            print(f"{metrics_file(checkpoint)} is not written, as only a part of the test data was read")
        else:
            write(self.record, metrics_file(checkpoint))

    def _add(self, verdict: Mapping[str, Any], trainer: L.Trainer) -> None:
        """Add the verdict to the metrics that ``_write`` has written."""
        checkpoint = self._tested(trainer)
        if checkpoint is None or self.record is None:
            return
        self.record["verdict"] = verdict
        if tests_all_rows(trainer):
            write(self.record, metrics_file(checkpoint))

    def _tested(self, trainer: L.Trainer) -> Path | None:
        """Return the checkpoint or the model folder that is tested; None for a model in memory."""
        source = trainer.ckpt_path or self._model_folder
        return None if source is None else Path(source)


def tests_all_rows(trainer: L.Trainer) -> bool:
    """Return whether ``test`` reads the whole test data."""
    limit = trainer.limit_test_batches
    return not isinstance(limit, int) and limit >= 1.0  # else a number of batches, or a fraction


def metrics_file(checkpoint: Path) -> Path:
    """Return the path of a checkpoint's metrics: in the folder of its run or model, else in the checkpoint's folder."""
    if checkpoint.is_dir():
        return checkpoint / "metrics.json"
    return (run_of(checkpoint) or checkpoint.resolve().parent) / "metrics.json"


def write(record: Mapping[str, Any], path: Path) -> None:
    """Write JSON atomically. If the folder is read-only, print a warning.

    Raises:
        RunError: the disk is full.
    """
    content = json_bytes(record)
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        if is_full(error):
            raise write_error(path, error, "Test another copy of the run") from error
        print(f"warning: cannot write {path}: {error.strerror}. The metrics are in the table only", file=sys.stderr)


def print_tables(metrics: Mapping[str, float], per_class: Mapping[str, Mapping[str, float | None]]) -> None:
    """Print a table of metrics and, if there are classes, a table of their scores."""
    console = Console(highlight=False)
    table = Table("metric", "value")
    table.columns[1].justify = "right"
    for name, value in metrics.items():
        table.add_row(Text(name), f"{value:.4f}")
    console.print(table)
    if not per_class:
        return
    title = None
    rows = list(per_class.items())
    if len(rows) > MAX_ROWS:
        title = f"the {MAX_ROWS} of {len(rows)} classes with the lowest F1"
        rows = sorted(rows, key=lambda row: row[1]["f1"] or 0.0)[:MAX_ROWS]
    table = Table("class", *COLUMNS, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, scores in rows:
        numbers = (f"{scores[column] or 0.0:.{0 if column == 'support' else 4}f}" for column in COLUMNS)
        # A label may contain control characters, which would change the terminal.
        table.add_row(Text("".join(c if c.isprintable() else "�" for c in name)), *numbers)
    console.print(table)


def _metrics(trainer: L.Trainer, stage: Stage) -> dict[str, float]:
    values: Mapping[str, Tensor] = trainer.callback_metrics
    return {name: float(value) for name, value in values.items() if name.startswith(f"{stage}/")}


def _per_class(task: Task, stage: Stage) -> dict[str, dict[str, float | None]]:
    """Return class -> name of a score -> score, with the support as an integer."""
    if "per_class" not in task.tables[stage]:
        return {}
    rows = task.tables[stage]["per_class"].tolist()
    return {
        name: {**dict(zip(COLUMNS, map(_finite_or_none, row), strict=True)), "support": int(row[-1])}
        for name, row in zip(task.classes, rows, strict=True)
    }


def _finite_or_none(value: float) -> float | None:
    """Return None for NaN and infinity, which JSON does not have."""
    return value if math.isfinite(value) else None


def _test_source(trainer: L.Trainer) -> Any:
    sources: Mapping[str, Any] = getattr(trainer.datamodule, "sources", {})  # type: ignore[attr-defined]
    return sources.get("test")
