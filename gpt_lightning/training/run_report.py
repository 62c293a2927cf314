"""Callback that writes ``report.html`` after training and after a test."""

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning.pytorch as L

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.bounded_files import read_json_object
from gpt_lightning.data.base import DataModule
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.run_report.environment import git_state, hardware, versions
from gpt_lightning.evaluation.run_report.files import FACTS, PAGE
from gpt_lightning.evaluation.run_report.settings import setting_text
from gpt_lightning.output_files import json_bytes, why_not_written
from gpt_lightning.tasks import Task
from gpt_lightning.training.data_identity import identity
from gpt_lightning.training.diagnostics.probabilities import ProbabilityDiagnostics
from gpt_lightning.training.evaluation_report import metrics_file, tests_all_rows
from gpt_lightning.training.stop_reason import stop_reason
from gpt_lightning.training.throughput import Throughput

_VALIDATION = ("validation", "hardest")
"""Facts that only a validation in the same process provides."""


class RunReport(L.Callback):
    """Callback that writes ``report.html`` to the folder of a run at the end of ``fit`` and after ``test``.

    The page is built from files in the folder: ``history.jsonl`` of ``RunHistory``, ``report.json`` with the results
    and circumstances of ``fit``, ``config.yaml``, and the ``metrics.json`` of ``test``. If a file cannot be written, a
    warning says so, and the finished run is not affected. Only rank zero writes.

    Args:
        changed: settings that differ from their defaults, each with its key, value and default.
        commands: commands that repeat the run, each as a line for the shell.
    """

    def __init__(self, changed: Sequence[tuple[str, Any, Any]] = (), commands: Sequence[str] = ()) -> None:
        self._changed = changed
        self._commands = commands
        self._run: Path | None = None
        self._environment: dict[str, Any] = {}
        self._start = time.perf_counter()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Find the folder of the run."""
        log_dir = trainer.log_dir  # a broadcast from rank zero: every rank must take part
        is_writer = trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]
        self._run = Path(log_dir) if stage == "fit" and log_dir is not None and is_writer else None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Record versions, hardware and git state, which may change while the model trains."""
        self._start = time.perf_counter()
        if self._run is not None:
            self._environment = {
                "versions": versions(),
                "hardware": hardware() | {"precision": str(trainer.precision), "processes": str(trainer.world_size)},
                "git": git_state(Path.cwd()),
            }

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the report, unless the run had finished before."""
        if self._run is None or not isinstance(pl_module, Task) or trainer.global_step == 0:
            return
        has_trained = pl_module.first_step is not None and trainer.global_step > pl_module.first_step
        if not has_trained and (self._run / PAGE).is_file() and "val" not in pl_module.tables:
            return
        facts = {
            "summary": self._summary(trainer, pl_module),
            "changed": [[key, setting_text(value), setting_text(default)] for key, value, default in self._changed],
            "data": _data(trainer),
            **self._environment,
            "commands": list(self._commands),
            **(_validation(trainer, pl_module) if "val" in pl_module.tables else _previous_facts(self._run)),
        }
        try:
            with atomic_write(self._run / FACTS) as file:
                file.write(json_bytes(facts))
        except OSError as error:
            _warn(self._run / FACTS, error)
        _write(self._run)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the report again, with the test metrics."""
        if trainer.state.fn != "test" or not trainer.is_global_zero or not tests_all_rows(trainer):
            return
        if trainer.ckpt_path is not None and metrics_file(Path(trainer.ckpt_path)).is_file():
            _write(metrics_file(Path(trainer.ckpt_path)).parent)

    def _summary(self, trainer: L.Trainer, task: Task) -> dict[str, Any]:
        """Return the size of the model, the progress of training, and why it stopped."""
        parameters = list(task.parameters())
        tokens = [each.tokens_seen for each in trainer.callbacks if isinstance(each, Throughput)]  # type: ignore[attr-defined]
        return {
            "task": type(task).__name__,
            "parameters": f"{sum(each.numel() for each in parameters):,}",
            "trainable parameters": f"{sum(each.numel() for each in parameters if each.requires_grad):,}",
            "optimizer steps": f"{trainer.global_step:,}",
            **({"tokens, padding included": f"{tokens[0]:,}"} if tokens else {}),
            "stopped": stop_reason(trainer),
            "seconds since the start or the last resume": f"{time.perf_counter() - self._start:,.0f}",
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def _data(trainer: L.Trainer) -> dict[str, str]:
    """Return sources and digests of the splits, and the settings that determine the order of rows."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, DataModule):
        return {}
    sources = {f"{split} source": setting_text(source) for split, source in data.sources.items() if source is not None}
    digests = {f"{split} digest": digest for split, digest in data.digests().items()}
    order = {key: setting_text(value) for key, value in identity(trainer).items() if key != "data.train"}
    return {**sources, **digests, "tokenizer digest": data.tokenizer.hash, **order}


def _validation(trainer: L.Trainer, task: Task) -> dict[str, Any]:
    """Return tables, curves and hardest examples of the last validation."""
    tables: dict[str, Any] = {name: value.tolist() for name, value in task.tables["val"].items() if value.ndim == 2}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, ProbabilityDiagnostics) and callback.curves is not None:
            tables["reliability"] = callback.curves.reliability()
            tables["precision_recall"] = callback.curves.precision_recall()
    return {"validation": {"classes": list(task.classes), **tables}, "hardest": task.hardest_examples.texts()}


def _previous_facts(run: Path) -> dict[str, Any]:
    """Return the results of the last validation in an earlier process of the run."""
    try:
        facts = read_json_object(run / FACTS, "Train the run again")
    except InputError:
        return {}
    return {name: facts[name] for name in _VALIDATION if name in facts}


def _write(run: Path) -> None:
    """Write the page, and print a warning if that fails."""
    from gpt_lightning.evaluation.run_report.page import write_report

    try:
        write_report(run)
    except OSError as error:
        _warn(run / PAGE, error)


def _warn(path: Path, error: OSError) -> None:
    cause, advice = why_not_written(error)
    print(f"warning: cannot write {path}: {cause}. {advice}", file=sys.stderr, flush=True)
