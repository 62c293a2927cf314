"""Callback that accepts the former names of monitored metrics."""

import lightning.pytorch as L

from gpt_lightning.tasks import Task
from gpt_lightning.tasks.tags import current_tag


class Monitors(L.Callback):
    """Callback that lets ``monitor`` of other callbacks follow a metric that was renamed, and prints the new name.

    Configurations and checkpoints of versions before 0.2 thus continue to work, also with Lightning's
    ``EarlyStopping`` and ``ModelCheckpoint``.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Rename, before Lightning looks up the saved state of the callbacks by the names that they monitor."""
        if not isinstance(pl_module, Task):
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            monitor = getattr(callback, "monitor", None)
            if not isinstance(monitor, str):
                continue
            tag = current_tag(monitor, pl_module.former_names, pl_module.metrics("val"))
            if tag == monitor:
                continue
            callback.monitor = tag
            if stage == "fit" and trainer.is_global_zero:
                print(
                    f"{type(callback).__name__}: the metric {monitor} is now called {tag}. "
                    "Change its monitor in your configuration.",
                    flush=True,
                )
