"""Classes that a configuration may name without ``--allow_import``, listed for each slot that takes a class.

A slot is a key of a configuration whose value is a class. Every other key takes plain values only, also where a
constructor accepts ``Any``, ``object`` or a callable. Functions are never listed.

A class is listed only if a stranger's arguments cannot make it run code, open a connection, load a pickle, or write
outside the folder of the run. ``file_values.py`` restricts the paths of the two loggers. Callbacks and profilers with
a path, such as ``ModelCheckpoint``, and loggers of web services are therefore not listed.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

_PACKAGE: Final = Path(__file__).parents[2]

_CALLBACKS: Final = (
    "lightning.pytorch.callbacks.device_stats_monitor.DeviceStatsMonitor",
    "lightning.pytorch.callbacks.early_stopping.EarlyStopping",
    "lightning.pytorch.callbacks.gradient_accumulation_scheduler.GradientAccumulationScheduler",
    "lightning.pytorch.callbacks.lr_monitor.LearningRateMonitor",
    "lightning.pytorch.callbacks.model_summary.ModelSummary",
    "lightning.pytorch.callbacks.rich_model_summary.RichModelSummary",
    "lightning.pytorch.callbacks.timer.Timer",
    "lightning.pytorch.callbacks.weight_averaging.EMAWeightAveraging",
)
_LOGGERS: Final = (
    "lightning.pytorch.loggers.csv_logs.CSVLogger",
    "lightning.pytorch.loggers.tensorboard.TensorBoardLogger",
)
_STRATEGIES: Final = (
    "lightning.pytorch.strategies.ddp.DDPStrategy",
    "lightning.pytorch.strategies.fsdp.FSDPStrategy",
    "lightning.pytorch.strategies.single_device.SingleDeviceStrategy",
)
_ENVIRONMENTS: Final = (
    "lightning.fabric.plugins.environments.lightning.LightningEnvironment",
    "lightning.fabric.plugins.environments.slurm.SLURMEnvironment",
    "lightning.fabric.plugins.environments.torchelastic.TorchElasticEnvironment",
)
_PRECISIONS: Final = (
    "lightning.pytorch.plugins.precision.amp.MixedPrecision",
    "lightning.pytorch.plugins.precision.double.DoublePrecision",
    "lightning.pytorch.plugins.precision.half.HalfPrecision",
)
_LAYER_SYNC: Final = ("lightning.pytorch.plugins.layer_sync.TorchSyncBatchNorm",)

PARTS: Final = (
    "gpt_lightning.models.config.GPTConfig",
    "gpt_lightning.models.lora.LoRA",
    "gpt_lightning.optim.fine_tuning.FineTuning",
    "gpt_lightning.optim.optimizer.OptimizerConfig",
    "gpt_lightning.optim.schedule.Schedule",
)
"""Dataclasses of plain values that are arguments of tasks. A configuration gives their values, not their names."""

Key = tuple[str, ...]


class Slot(NamedTuple):
    """Classes for one key, and the module that holds others of their kind, for messages."""

    classes: tuple[str, ...]
    home: str = ""


def slot_at(key: Key) -> Slot | None:
    """Return the slot at a key, such as ("trainer", "callbacks"); None if the key takes no class.

    Args:
        key: parts of the key. ``init_args`` and a last ``class_path`` may be left out.
    """
    if key and key[-1] == "class_path":
        key = key[:-1]
    return slots().get(tuple(part for part in key if part != "init_args"))


@cache
def slots() -> dict[Key, Slot]:
    """Return the slot of each key that takes a class."""
    pytorch = "lightning.pytorch"
    return {
        ("model",): Slot(_exports("tasks")),
        ("data",): Slot(_exports("data")),
        ("trainer", "accelerator"): Slot((), f"{pytorch}.accelerators"),
        ("trainer", "callbacks"): Slot(_CALLBACKS, f"{pytorch}.callbacks"),
        ("trainer", "logger"): Slot(_LOGGERS, f"{pytorch}.loggers"),
        ("trainer", "plugins"): Slot((*_PRECISIONS, *_ENVIRONMENTS, *_LAYER_SYNC), f"{pytorch}.plugins"),
        ("trainer", "profiler"): Slot((), f"{pytorch}.profilers"),  # The names "simple" and "advanced" need no class.
        ("trainer", "strategy"): Slot(_STRATEGIES, f"{pytorch}.strategies"),
        ("trainer", "strategy", "cluster_environment"): Slot(_ENVIRONMENTS, f"{pytorch}.plugins.environments"),
        ("trainer", "strategy", "precision_plugin"): Slot(_PRECISIONS, f"{pytorch}.plugins"),
    }


def names_of(path: str) -> Iterator[str]:
    """Yield the names by which a configuration may refer to a listed class.

    Args:
        path: module and name of the class, such as ``lightning.pytorch.callbacks.timer.Timer``.

    Yields:
        The bare name, and the name in the module and in each package around it, which may export the class.
    """
    *modules, name = path.split(".")
    yield name
    yield from (".".join([*modules[:count], name]) for count in range(1, len(modules) + 1))
    if modules[:2] == ["lightning", "fabric"]:  # lightning.pytorch exports these classes too
        yield from (".".join(["lightning.pytorch", *modules[2:count], name]) for count in range(2, len(modules) + 1))


@cache
def listed_names(key: Key) -> frozenset[str]:
    """Return all names of the classes that are listed for a key; none if the key takes no class."""
    slot = slot_at(key)
    return frozenset() if slot is None else frozenset(name for path in slot.classes for name in names_of(path))


@cache
def _exports(package: str) -> tuple[str, ...]:
    """Return the classes that ``__init__.py`` of a package of gpt_lightning imports, without running it."""
    tree = ast.parse((_PACKAGE / package / "__init__.py").read_text(encoding="utf-8"))
    imports = (node for node in tree.body if isinstance(node, ast.ImportFrom))
    return tuple(
        f"{node.module}.{alias.name}"
        for node in imports
        for alias in node.names
        if str(node.module).startswith("gpt_lightning.")
    )
