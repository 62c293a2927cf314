"""Callback that gives the loggers the hyper-parameters of a run together with its final metrics."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from gpt_lightning.data.sources.row_formats import without_surrogates
from gpt_lightning.tasks import Task
from gpt_lightning.tasks.tags import FINAL
from gpt_lightning.training.run_settings import settings


class HParams(L.Callback):
    """Callback that logs hyper-parameters and final validation metrics at the end of ``fit``.

    TensorBoard shows a table of runs in its tab HPARAMS, with the final metrics as ``val_final/NAME``. A ``CSVLogger``
    writes ``hparams.yaml``. Other loggers have services of their own for this.
    """

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log them on rank zero, unless no step was taken."""
        if not trainer.is_global_zero or not isinstance(pl_module, Task) or not trainer.global_step:
            return
        if trainer.fast_dev_run or pl_module.first_step == trainer.global_step:  # type: ignore[attr-defined]
            return
        parameters = flatten({"model": pl_module.hparams, **settings(trainer, pl_module)})
        metrics = {
            f"{FINAL}/{name.removeprefix('val/')}": float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(parameters, metrics, trainer.global_step)
            elif isinstance(logger, CSVLogger):
                logger.log_hyperparams(parameters)
                logger.save()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Return nested values by dotted key, those without a plain type as text."""
    found: dict[str, bool | int | float | str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flatten(value, f"{prefix}{key}.")
        else:
            plain = value if isinstance(value, bool | int | float) else str(value)
            found[f"{prefix}{key}"] = without_surrogates(plain)  # of paths that are not UTF-8
    return found
