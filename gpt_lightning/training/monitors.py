"""Callback for metrics that other callbacks monitor: former names, and values that a resumed run needs."""

from collections.abc import Iterator, Mapping
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.metrics.direction import best_mode
from gpt_lightning.tasks import Task
from gpt_lightning.tasks.tags import current_tag
from gpt_lightning.training.checkpoint_callback import Checkpoints


class Monitors(L.Callback):
    """Callback that lets callbacks with a ``monitor``, such as ``EarlyStopping``, follow a renamed or a resumed run.

    A ``mode`` that prefers the worst value of a known metric is refused. Their ``monitor`` follows a metric that was
    renamed, and the new name is printed. Configurations and checkpoints of versions before 0.2 thus continue to work.

    Lightning calls the hooks of the end of an epoch again if a run resumes from a checkpoint that its last validation
    has written. This callback stores the monitored metrics in the checkpoint for them. A run that ``EarlyStopping`` has
    stopped stops again at once, unless its ``patience`` has been raised.
    """

    def __init__(self) -> None:
        self._resumed: dict[str, Tensor] = {}
        self._patience: dict[EarlyStopping, int] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Rename, before Lightning looks up the saved state of the callbacks by the names that they monitor.

        Raises:
            InputError: the ``mode`` of a callback prefers the worst value of its metric.
        """
        self._patience = {each: each.patience for each in _early_stopping(trainer)}
        if not isinstance(pl_module, Task):
            return
        for callback, monitor in _monitored_callbacks(trainer):
            tag = current_tag(monitor, pl_module.former_names, pl_module.metrics("val"))
            if tag == monitor:
                continue
            callback.monitor = tag  # type: ignore[attr-defined]
            if stage == "fit" and trainer.is_global_zero:
                print(
                    f"{type(callback).__name__}: the metric {monitor} is now called {tag}. "
                    "Change its monitor in your configuration.",
                    flush=True,
                )
        if stage == "fit":
            for callback, monitor in _monitored_callbacks(trainer):
                _check_mode(callback, monitor)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the monitored metrics."""
        metrics, names = trainer.callback_metrics, {monitor for _, monitor in _monitored_callbacks(trainer)}
        checkpoint["monitored"] = {name: metrics[name].cpu() for name in sorted(names & metrics.keys())}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Read the monitored metrics. Older checkpoints have none."""
        saved: Mapping[str, Any] = checkpoint.get("monitored", {})
        self._resumed = {name: value for name, value in saved.items() if isinstance(value, Tensor)}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Restore the metrics, which Lightning has reset after reading the checkpoint, and stop a stopped run."""
        trainer.callback_metrics.update({name: value.to(pl_module.device) for name, value in self._resumed.items()})
        for callback, patience in self._patience.items():
            callback.patience = patience  # that of the checkpoint has replaced it
            is_patience = callback.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED
            if callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED:
                trainer.should_stop |= not is_patience or callback.wait_count >= patience


def _monitored_callbacks(trainer: L.Trainer) -> Iterator[tuple[L.Callback, str]]:
    """Yield each callback that monitors a metric, and the name of the metric."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(monitor := getattr(callback, "monitor", None), str):
            yield callback, monitor


def _check_mode(callback: L.Callback, monitor: str) -> None:
    """Refuse a ``mode`` that prefers the worst value of a known metric.

    Raises:
        InputError: it does.
    """
    mode, best = getattr(callback, "mode", None), best_mode(monitor)
    if best is None or mode not in ("min", "max") or mode == best:
        return
    name = "checkpoints" if isinstance(callback, Checkpoints) else type(callback).__name__
    better = "higher" if best == "max" else "lower"
    raise InputError(
        f"{name}.mode={mode} would prefer the worst model, because a {better} {monitor} is better. "
        f"Set {'--' if isinstance(callback, Checkpoints) else ''}{name}.mode={best}"
    )


def _early_stopping(trainer: L.Trainer) -> Iterator[EarlyStopping]:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EarlyStopping):
            yield callback
