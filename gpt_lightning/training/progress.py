"""Base of the progress displays of training, validation, test and prediction."""

import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import lightning.pytorch as L

from gpt_lightning.metrics.loss import MeanLoss
from gpt_lightning.tasks import Task
from gpt_lightning.training.checkpoint_callback import Checkpoints
from gpt_lightning.training.pace import Pace, Status, epoch_of, position, total_steps
from gpt_lightning.training.throughput import Throughput

_IN_LOGGERS_ONLY: Final = {"val/rouge1", "val/rouge2", "val/token_f1"}
"""Metrics that the line after a validation leaves out, since others in it measure nearly the same."""


class ProgressDisplay(L.Callback):
    """Base of the displays: counts optimizer steps and batches, on rank zero only.

    Args:
        seconds: least time between two updates. Each update reads the loss, which waits for a GPU.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._pace: Pace | None = None
        self._updated: dict[str, float] = {}

    def begin(self, stage: str, done: int, total: int | None) -> None:
        """Start to show a stage, of which ``done`` of ``total`` steps or batches are done already."""

    @abstractmethod
    def show_training(self, status: Status) -> None:
        """Show the state of training."""

    @abstractmethod
    def show_batches(self, stage: str, done: int, total: int | None) -> None:
        """Show how many batches of an evaluation or a prediction are done."""

    @abstractmethod
    def show_metrics(self, step: int, total: int | None, metrics: dict[str, float], monitor: str) -> None:
        """Show the metrics of a validation during training.

        Args:
            step: optimizer steps done.
            total: optimizer steps of the whole run.
            metrics: all metrics by their names.
            monitor: the metric that decides which checkpoint is the best.
        """

    def show_generation(self, stage: str, examples: int) -> None:
        """Show that the answers to the examples of a batch are being generated."""

    def end(self, stage: str) -> None:
        """Stop showing a stage."""

    # --- training

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock at the step that training resumes from."""
        total = total_steps(trainer)  # Every rank computes it, because it may load the training data.
        if trainer.is_global_zero:
            self._pace = Pace(trainer.global_step, total)
            self.begin("training", trainer.global_step, total)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step, and show the state when it is time."""
        assert isinstance(pl_module, Task)
        if self._pace is None or pl_module.is_accumulating:
            return
        self._pace.finish_step()
        if self._pace.is_measured(trainer.global_step) and self._is_time("training"):
            self.show_training(self._status(trainer, self._pace, _loss(trainer, pl_module)))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop showing the stage."""
        if self._pace is not None:
            self._pace = None
            self.end("training")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Stop, so that the terminal is ready for the message."""
        self._pace = None
        self.end("training")

    # --- validation, test and prediction

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start to count batches."""
        self._begin_batches(trainer, "validating", trainer.num_val_batches)

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Show that answers are generated, if the batch has examples for it."""
        self._begin_generation(trainer, "validating", batch, "references")

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the batch."""
        self._count_batch(trainer, "validating", trainer.num_val_batches, batch_idx, dataloader_idx)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop showing the stage; during training, show the metrics."""
        if not _is_shown(trainer):
            return
        self.end("validating")
        if trainer.state.fn == "fit":
            monitor = monitor_of(trainer)
            hidden = _IN_LOGGERS_ONLY - {monitor}
            metrics = trainer.callback_metrics.items()
            values = {name: float(v) for name, v in metrics if name.startswith("val/") and name not in hidden}
            self.show_metrics(trainer.global_step, total_steps(trainer), values, monitor)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start to count batches."""
        self._begin_batches(trainer, "testing", trainer.num_test_batches)

    def on_test_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Show that answers are generated, if the batch has examples for it."""
        self._begin_generation(trainer, "testing", batch, "references")

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the batch."""
        self._count_batch(trainer, "testing", trainer.num_test_batches, batch_idx, dataloader_idx)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop showing the stage."""
        if _is_shown(trainer):
            self.end("testing")

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start to count batches."""
        self._begin_batches(trainer, "predicting", trainer.num_predict_batches)

    def on_predict_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Show that answers are generated, if the batch has prompts."""
        self._begin_generation(trainer, "predicting", batch, "prompts")

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the batch."""
        self._count_batch(trainer, "predicting", trainer.num_predict_batches, batch_idx, dataloader_idx)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop showing the stage."""
        if _is_shown(trainer):
            self.end("predicting")

    def _begin_batches(self, trainer: L.Trainer, stage: str, batches: list[int | float]) -> None:
        if _is_shown(trainer):
            self._updated[stage] = time.monotonic()
            self.begin(stage, 0, total_batches(batches))

    def _begin_generation(self, trainer: L.Trainer, stage: str, batch: Any, key: str) -> None:
        if _is_shown(trainer) and isinstance(batch, Mapping) and (examples := len(batch.get(key) or ())):
            self.show_generation(stage, examples)

    def _count_batch(
        self, trainer: L.Trainer, stage: str, batches: list[int | float], batch_idx: int, dataloader_idx: int
    ) -> None:
        """Show the number of batches when it is time, and after the last batch; during training, metrics follow it."""
        if not _is_shown(trainer):
            return
        done, total = (total_batches(batches[:dataloader_idx]) or 0) + batch_idx + 1, total_batches(batches)
        if self._is_time(stage) or (done == total and trainer.state.fn != "fit"):
            self.show_batches(stage, done, total)

    def _status(self, trainer: L.Trainer, pace: Pace, loss: float | None) -> Status:
        step = trainer.global_step
        return Status(step, pace.total, epoch_of(trainer), loss, _tokens_per_second(trainer), pace.seconds_left(step))

    def _is_time(self, stage: str) -> bool:
        now = time.monotonic()
        if now - self._updated.get(stage, -self.seconds) < self.seconds:
            return False
        self._updated[stage] = now
        return True


def metrics_line(step: int, total: int | None, metrics: dict[str, float]) -> str:
    """Return the metrics of a validation in one line."""
    return f"step {position(step, total)}: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def monitor_of(trainer: L.Trainer) -> str:
    """Return the metric that decides which checkpoint is the best."""
    monitors = (each.monitor for each in trainer.checkpoint_callbacks if isinstance(each, Checkpoints))
    return next(monitors, "val/loss")


def _loss(trainer: L.Trainer, task: Task) -> float | None:
    """Return the mean loss since it was last logged, or the last logged one of a user's metric; None without labels."""
    metric = task.metrics("train")
    if isinstance(metric, MeanLoss):
        return float(metric.mean_loss()) if metric.has_labels() else None  # of this rank: the others are not asked
    logged = trainer.callback_metrics.get("train/loss")
    return None if logged is None else float(logged)


def _tokens_per_second(trainer: L.Trainer) -> float | None:
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((each.tokens_per_second for each in callbacks if isinstance(each, Throughput)), None)


def _is_shown(trainer: L.Trainer) -> bool:
    return trainer.is_global_zero and not trainer.sanity_checking


def total_batches(batches: list[int | float]) -> int | None:
    """Return the number of batches of all loaders; None if a loader has no length."""
    total = sum(batches)
    return None if total == float("inf") else int(total)
