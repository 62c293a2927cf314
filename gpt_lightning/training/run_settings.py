"""Settings of a run and its machine that change the result, compared when the run resumes."""

import inspect
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Checkpoint, ProgressBar

from gpt_lightning.data.base import DataModule
from gpt_lightning.named_classes import is_ours
from gpt_lightning.printable import printable
from gpt_lightning.tasks import Task
from gpt_lightning.tasks.accumulation import accumulation, num_steps

KEEPS_WEIGHTS: Final = (
    "trainer.max_steps",
    "trainer.max_epochs",
    "trainer.val_check_interval",
    "trainer.check_val_every_n_epoch",
    "trainer.limit_val_batches",
    "data.validation",
)
"""Settings that change the length of a run, or its validation metrics and best checkpoint, but not its weights."""

DIFFERS: Final = "; the result will differ from that of an uninterrupted run"
"""End of the line about a change after which a resumed run is not bit for bit an uninterrupted one."""


def settings(trainer: L.Trainer, module: L.LightningModule) -> dict[str, Any]:
    """Return a dict from configuration keys, or names, to plain values."""
    return {**_trainer(trainer), **_machine(module), **_model_and_data(trainer, module)}


def changes(saved: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each setting that differs from that of a checkpoint. Older checkpoints lack some settings."""
    for key, value in current.items():
        if key in saved and repr(saved[key]) != repr(value):  # 1 is a number of batches, 1.0 all of them
            end = "" if key in KEEPS_WEIGHTS else DIFFERS
            yield f"changed: {key}={value} (the checkpoint has {printable(str(saved[key]))}){end}"


def _trainer(trainer: L.Trainer) -> dict[str, Any]:
    """Return options of the Trainer with the values in use, by their keys."""
    callbacks = (each for each in trainer.callbacks if not _is_neutral(each))  # type: ignore[attr-defined]
    options = {
        "precision": str(trainer.precision),
        "gradient_clip_val": float(trainer.gradient_clip_val or 0.0),
        "gradient_clip_algorithm": str(trainer.gradient_clip_algorithm or "norm"),
        "limit_train_batches": trainer.limit_train_batches,
        "overfit_batches": trainer.overfit_batches,  # type: ignore[attr-defined]
        "accumulate_grad_batches": accumulation(trainer),
        "strategy": type(trainer.strategy).__name__,
        "callbacks": sorted(map(_describe, callbacks)),
        "max_steps": trainer.max_steps,
        "max_epochs": trainer.max_epochs,
        "val_check_interval": _value(_val_check_interval(trainer)),
        "check_val_every_n_epoch": trainer.check_val_every_n_epoch,
        "limit_val_batches": trainer.limit_val_batches,
    }
    return {f"trainer.{name}": value for name, value in options.items()}


def _val_check_interval(trainer: L.Trainer) -> int | float | timedelta:
    """Return a number of batches, a share of an epoch, or a time."""
    seconds = trainer._val_check_time_interval  # type: ignore[attr-defined]
    return trainer.val_check_interval if seconds is None else timedelta(seconds=seconds)


def _machine(module: L.LightningModule) -> dict[str, Any]:
    """Return what determines the rounding of sums, besides the precision."""
    is_cuda = module.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(module.device) if is_cuda else torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__.partition("+")[0],
        "threads of torch": torch.get_num_threads(),
        "torch.get_float32_matmul_precision": torch.get_float32_matmul_precision(),
        "trainer.deterministic": torch.are_deterministic_algorithms_enabled(),
        "compile": any(getattr(each, "_compiled_call_impl", None) is not None for each in module.modules()),
    }


def _model_and_data(trainer: L.Trainer, module: L.LightningModule) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(module, Task) and module.schedule.needs_end:
        found["last step of model.schedule"] = _value(num_steps(trainer))
    data = trainer.datamodule  # type: ignore[attr-defined]
    if isinstance(data, DataModule):
        found["data.validation"] = str(data.sources["validation"])
    return found


def _is_neutral(callback: L.Callback) -> bool:
    """Return whether a callback cannot change the weights: those of this package, checkpoints and progress bars."""
    return is_ours(f"{type(callback).__module__}.") or isinstance(callback, Checkpoint | ProgressBar)


def _describe(callback: L.Callback) -> str:
    """Return the class of a callback and those of its arguments that it keeps in public attributes."""
    names = (name for name in inspect.signature(type(callback)).parameters if hasattr(callback, name))
    return f"{type(callback).__qualname__}({', '.join(f'{name}={_value(getattr(callback, name))}' for name in names)})"


def _value(value: Any) -> Any:
    """Return a number, a string or None as it is, and anything else as text without addresses in memory."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value) if isinstance(value, list | tuple | dict | timedelta) else type(value).__qualname__
