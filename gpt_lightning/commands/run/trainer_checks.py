"""Checks of the Trainer's arguments that Lightning accepts but that train wrongly, and translation of its errors."""

import inspect
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

import lightning.pytorch as L
from lightning.fabric.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

from gpt_lightning.errors import InputError, input_error
from gpt_lightning.ranges import MAX_SEED

_AT_LEAST: Final = {
    "accumulate_grad_batches": (1, "1 takes an optimizer step after every batch"),
    "check_val_every_n_epoch": (1, "trainer.limit_val_batches=0 turns validation off"),
    "gradient_clip_val": (0, "null turns clipping off"),
    "log_every_n_steps": (1, "trainer.logger=false turns logging off"),
    "min_epochs": (0, "null sets no minimum"),
    "min_steps": (0, "null sets no minimum"),
    "num_nodes": (1, "1 is this machine"),
    "num_sanity_val_steps": (-1, "-1 checks all validation batches"),
}
"""Argument of the Trainer -> its least value, and a hint."""

_MAX_DEVICES: Final = 1024
"""More devices than one machine has. Lightning would start a process for each."""
_MAX_CPU_DEVICES: Final = 8
"""Devices that a CPU with fewer cores may have, so that small machines can try several."""

_CLASS_PATH: Final = re.compile(r"class_path='([\w.]+)'")
"""Class in the value that a message of jsonargparse quotes."""


def check_trainer(trainer: Mapping[str, Any], seed: int | bool) -> None:
    """Refuse arguments of the Trainer, and a seed, that Lightning would accept or report with a traceback.

    Raises:
        InputError: an argument is out of range or unsupported.
    """
    devices = str(trainer["devices"])
    if devices.isdecimal() and int(devices) > _MAX_DEVICES:
        raise InputError(f"trainer.devices={devices} must be at most {_MAX_DEVICES}")
    for name, value in trainer.items():
        if isinstance(value, int) and abs(value) > sys.maxsize:
            raise InputError(f"trainer.{name}={value} is too large. Choose a number below {sys.maxsize}")
    for name, (least, hint) in _AT_LEAST.items():
        value = trainer[name]
        if value is not None and not least <= value < math.inf:
            raise InputError(f"trainer.{name}={value} must be at least {least}; {hint}")
    interval = trainer["val_check_interval"]
    if isinstance(interval, int | float) and not 0 < interval < math.inf:
        raise InputError(
            f"trainer.val_check_interval={interval} must be positive; trainer.limit_val_batches=0 turns validation off"
        )
    if trainer["barebones"]:
        raise InputError(
            "trainer.barebones=true trains without checkpoints and loggers, which is unsupported. Remove it"
        )
    if trainer["model_registry"] is not None:
        raise InputError(
            f"trainer.model_registry={trainer['model_registry']} is not supported, as no run is uploaded. Remove it. "
            "The checkpoints are in the folder of the run"
        )
    if not isinstance(seed, bool) and not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed_everything={seed} must be between 0 and {MAX_SEED}")


def check_limit(trainer: Mapping[str, Any], subcommand: str) -> None:
    """Refuse a limit that leaves no batch to the subcommand.

    Raises:
        InputError: the limit is 0.
    """
    stage = {"fit": "train", "validate": "val"}.get(subcommand, subcommand)
    name = f"limit_{stage}_batches"
    if trainer[name] == 0 and not trainer["fast_dev_run"]:
        raise InputError(f"trainer.{name}={trainer[name]} leaves no batch to {subcommand}. Raise it, or leave it out")


def check_processes(trainer: L.Trainer) -> None:
    """Refuse ways to start the processes of a run that cannot work.

    Raises:
        InputError: the strategy forks or spawns processes, there are far more processes than CPU cores, or several
            machines have no address in common.
    """
    cores = os.cpu_count() or 1
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > max(cores, _MAX_CPU_DEVICES):
        raise InputError(
            f"trainer.devices={trainer.num_devices} starts a process for each device, but this machine has "
            f"{cores} CPU cores. Choose at most {max(cores, _MAX_CPU_DEVICES)}"
        )
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise InputError(
            "trainer.strategy starts its processes from this one by fork or spawn, which is unsupported. "
            "Use --trainer.strategy=ddp"
        )
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if trainer.num_nodes > 1 and isinstance(environment, LightningEnvironment) and "MASTER_ADDR" not in os.environ:
        raise InputError(
            f"trainer.num_nodes={trainer.num_nodes}, but the environment variable MASTER_ADDR is missing. Set it to "
            "the address of the first machine, and NODE_RANK to the number of this one, or start the run with torchrun"
        )


@contextmanager
def building(trainer: Mapping[str, Any]) -> Iterator[None]:
    """Raise every error of the Trainer's constructor as InputError, because only settings can cause it.

    Args:
        trainer: the arguments of the Trainer.
    """
    try:
        yield
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:
        text = _one_line(error)
        defaults = {name: each.default for name, each in inspect.signature(L.Trainer).parameters.items()}
        given = {name: value for name, value in trainer.items() if name in defaults and value != defaults[name]}
        named = [f"trainer.{name}" for name, value in given.items() if name in text or f"'{value}'" in text]
        raise InputError(f"the Trainer: {text} Check {', '.join(named) or 'the keys below trainer'}") from error


@contextmanager
def refusals() -> Iterator[None]:
    """Raise the errors by which Lightning refuses settings, and jsonargparse class arguments, as InputError."""
    try:
        yield
    except InputError:
        raise
    except (MisconfigurationException, ModuleNotFoundError, OverflowError, TypeError, ValueError) as error:
        if input_error(error) is not None:
            raise  # jsonargparse has wrapped the InputError of a constructor
        package = _innermost_package(error.__traceback__)
        if package == "jsonargparse":
            raise InputError(_problems(str(error))) from error
        if isinstance(error, MisconfigurationException) or package == "lightning":
            raise InputError(_one_line(error)) from error
        raise


def _innermost_package(trace: TracebackType | None) -> str:
    """Return the top-level package of the code that raised an exception."""
    name = ""
    while trace is not None:
        name, trace = str(trace.tb_frame.f_globals.get("__name__", "")), trace.tb_next
    return name.partition(".")[0]


def _problems(text: str) -> str:
    """Return the reasons in jsonargparse's message about a class that cannot be built, without the types it tried."""
    noise = (
        *("Does not validate", "Subtypes", "Errors:", "Expected a", "Given value"),
        *("Not a valid subclass", "Subclass types", "a class path (str)", "a dict with"),
    )
    lines = (line.strip(" -") for line in text.splitlines())
    kept = " ".join(line for line in lines if line and not line.startswith(noise))
    kept = kept.replace("Problem with given class_path", "cannot create") or text.partition("\n")[0]
    named = set(_CLASS_PATH.findall(text))
    return f"cannot create {named.pop()}: {kept}" if len(named) == 1 and "cannot create" not in kept else kept


def _one_line(error: Exception) -> str:
    return f"{' '.join(str(error).split()).rstrip('.!') or type(error).__name__}."
