"""Callback that sets the x axis of all logged metrics."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L

from gpt_lightning.tasks.tags import EPOCH


class StepAxis(L.Callback):
    """Callback that logs every metric at the number of finished optimizer steps, and the epoch as ``x_axis/epoch``.

    Lightning alone logs the metrics of step 10 at step 9, next to texts and checkpoints of step 10, and names the epoch
    ``epoch``, which is then the first group in TensorBoard.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Put ours in front of Lightning's method that all metrics pass through."""
        connector = trainer._logger_connector

        def log_metrics(metrics: Mapping[str, Any], step: int | None = None) -> None:
            if metrics and step is None and "step" not in metrics:
                metrics, step = {**metrics, EPOCH: trainer.current_epoch}, trainer.global_step
            type(connector).log_metrics(connector, dict(metrics), step)

        connector.log_metrics = log_metrics  # type: ignore[method-assign]
