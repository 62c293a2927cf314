"""Search for the data modules of a task and for the one that a checkpoint names."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as L

from gpt_lightning import data
from gpt_lightning.data.base import DataModule
from gpt_lightning.named_classes import import_named, is_allowed, is_ours


def data_modules() -> list[type[DataModule]]:
    """Return the data modules of this package, in the order of ``gpt_lightning.data``."""
    return [getattr(data, name) for name in data.__all__]


def data_modules_for(task: type[Any]) -> list[type[DataModule]]:
    """Return the data modules of this package that fit a task."""
    return [module for module in data_modules() if goes_with(task, module)]


def default_data_module(task: type[Any]) -> type[DataModule] | None:
    """Return the data module of this package for a task whose model names none, or None if there is none."""
    return next((module for module in data_modules_for(task) if module.is_default), None)


def goes_with(task: type[Any], module: type[Any]) -> bool:
    """Return whether a data module produces the batches that a task consumes; an undeclared batch may fit."""
    batches = [getattr(each, "batch", None) for each in (task, module)]
    return None in batches or batches[0] is batches[1]


def named_data_module(path: str, allow_import: Sequence[str] = ()) -> type[L.LightningDataModule] | None:
    """Return the data module class that a checkpoint names, or None if it is unknown or its import is not allowed.

    A missing class is not an error, because the user can choose another data module.

    Args:
        path: its class path; in checkpoints of version 0.1, the bare name of a class of this package.
        allow_import: packages of the user that may be imported.

    Raises:
        InputError: the class is allowed but cannot be imported.
    """
    if is_ours(path):
        name = path.rpartition(".")[2]
        module: type[DataModule] | None = getattr(data, name) if name in data.__all__ else None
        return module
    if not is_allowed(path, allow_import):
        return None
    found = import_named(path, "data module")
    return found if isinstance(found, type) and issubclass(found, L.LightningDataModule) else None
