"""Callback that keeps all logged metrics and samples of a run in ``history.jsonl``."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from torch import Tensor

from gpt_lightning.checkpoints.run_folder import run_of
from gpt_lightning.evaluation.run_report import history
from gpt_lightning.output_files import why_not_written


class RunHistory(L.Callback):
    """Callback that appends every logged metric, and the generated samples, to ``history.jsonl`` in the run's folder.

    It works with any loggers, also with none. A resumed run cuts the history to the step of its checkpoint, so that the
    whole curve is kept, without repeated steps. If the file cannot be written, training continues, and a warning says
    so once. Only rank zero writes.
    """

    def __init__(self) -> None:
        self._run: Path | None = None
        self._is_open = False
        self._trainer: L.Trainer | None = None
        self._log_to_loggers: Callable[[dict[str, Any], int | None], None] | None = None

    @property
    def is_active(self) -> bool:
        """True on rank zero during ``fit``, except in development runs."""
        return self._run is not None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Replace Lightning's method that all metrics pass through."""
        log_dir = trainer.log_dir  # a broadcast from rank zero: every rank must take part
        self._run, self._is_open, self._trainer = None, False, trainer
        if stage != "fit" or log_dir is None or trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        self._run = Path(log_dir)
        connector = trainer._logger_connector
        if connector.log_metrics != self._log_metrics:
            self._log_to_loggers = connector.log_metrics
        connector.log_metrics = self._log_metrics  # type: ignore[method-assign]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Cut the history to the step that training resumes from."""
        self._open()

    def keep_text(self, tag: str, markdown: str) -> None:
        """Append a text at the current step."""
        assert self._trainer is not None
        self._append(self._trainer.global_step, texts={tag: markdown})

    def _log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Append the numbers among the metrics, then call the method that this one replaces."""
        assert self._trainer is not None
        assert self._log_to_loggers is not None
        scalars = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float | Tensor)}
        number = scalars.pop("step", self._trainer.global_step) if step is None else step
        if scalars:
            self._append(int(number), scalars=scalars)
        self._log_to_loggers(dict(metrics), step)

    def _open(self) -> None:
        """Start the history, once, after Lightning has read the checkpoint to resume from.

        A callback that repeats a validation in ``on_train_start`` may log before this callback's own hook.
        """
        trainer = self._trainer
        if self._run is None or trainer is None or self._is_open:
            return
        self._is_open = True
        source = None if trainer.ckpt_path is None else run_of(Path(trainer.ckpt_path))
        try:
            history.restart(self._run, trainer.global_step, source or self._run)
        except OSError as error:
            self._stop(error)

    def _append(self, step: int, **fields: Any) -> None:
        self._open()
        if self._run is None:
            return
        try:
            history.append(self._run, step, **fields)
        except OSError as error:
            self._stop(error)

    def _stop(self, error: OSError) -> None:
        """Print a warning, and write nothing more."""
        assert self._run is not None
        message = f"warning: cannot write {self._run / history.FILE}: {why_not_written(error)[0]}"
        print(f"{message}. The report of the run will be incomplete", file=sys.stderr, flush=True)
        self._run = None


def keeps_texts(trainer: L.Trainer) -> bool:
    """Return whether a callback keeps the samples of the run."""
    return any(isinstance(each, RunHistory) and each.is_active for each in trainer.callbacks)  # type: ignore[attr-defined]


def keep_text(trainer: L.Trainer, tag: str, markdown: str) -> None:
    """Keep a text of the current step for the report of the run, if there will be one."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, RunHistory) and callback.is_active:
            callback.keep_text(tag, markdown)
