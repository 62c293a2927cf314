"""Messages of Lightning that are hidden, because they are meant for users of its Python API."""

import logging
import warnings
from typing import Final

import lightning.pytorch  # noqa: F401 (sets the levels of its loggers when it is first imported)

_KEPT_LOGGERS: Final = ("callbacks.early_stopping", "callbacks.model_summary", "profilers.profiler")
"""Modules of Lightning whose messages the user has asked for."""
_HIDDEN_WARNINGS: Final = (
    "Experiment logs directory .* exists and is not empty.*",  # loggers share the folder of the run
    ".*overriding `LightningModule.optimizer_{step,zero_grad}`.*",  # the hooks are meant for optimizer steps
    "FLOPs not found for .*",  # the peak of GPUs that Lightning does not list is measured
    ".*does not have many workers.*",
    "You're using the WeightAveraging callback, but .* outside the 'fit' stage.*",  # the weights are averaged
    ".*smaller than the logging interval.*",  # logging counts optimizer steps across epochs
    ".*LeafSpec.*",
    "Total length of `list` across ranks is zero.*",
    ".*sync_dist=True.*",  # metrics are summed over ranks before they are logged
)


def hide_messages() -> None:
    """Hide log messages of Lightning, and warnings that do not concern users of the command line."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    for module in _KEPT_LOGGERS:
        logging.getLogger(f"lightning.pytorch.{module}").setLevel(logging.INFO)
    for message in _HIDDEN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
