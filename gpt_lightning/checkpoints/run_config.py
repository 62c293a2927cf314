"""Arguments of a run's data module, read from the ``config.yaml`` of the run or of its exported model folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from gpt_lightning.bounded_files import load_yaml, read_text
from gpt_lightning.checkpoints.run_folder import run_of
from gpt_lightning.errors import InputError

RememberedSettings = Mapping[str, str | float | list[str] | list[int]]
"""Arguments of a data module that say how rows are read, by name."""
_MAX_BYTES: Final = 2**20
_SINGLE: Final = (str, int, float, bool)
_CHOOSING: Final = ("validation_fraction", "without", "counterfactual_swaps", "on_bad_row")
"""Arguments that choose rows of the training source."""


def data_arguments(file: Path) -> dict[str, Any] | None:
    """Return the data module's arguments in a ``config.yaml``; None if it is not the configuration of a run."""
    return _arguments(file, "data")


def init_from_of(run: Path) -> str | None:
    """Return the pretrained weights that a run has started from; None for random weights."""
    found = (_arguments(run / "config.yaml", "model") or {}).get("init_from")
    return found if isinstance(found, str) else None


def _arguments(file: Path, part: str) -> dict[str, Any] | None:
    """Return the arguments of the model or of the data module; None if the file is not the configuration of a run."""
    try:
        text = read_text(file, "Give the config.yaml of a run", _MAX_BYTES)
        content = load_yaml(text)[part]["init_args"]
    except (InputError, yaml.YAMLError, ValueError, TypeError, LookupError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def has_given_labels(checkpoint: Path) -> bool:
    """Return whether the order of a model's labels was given, so that numbers in rows may stand for them.

    Without a ``config.yaml``, the labels of a model folder are those that its author published in ``config.json``, and
    those of a checkpoint may be the sorted ones of its training rows.

    Args:
        checkpoint: a checkpoint in the folder of a run, or a model folder.
    """
    folder = checkpoint if checkpoint.is_dir() else run_of(checkpoint)
    arguments = None if folder is None else data_arguments(folder / "config.yaml")
    if arguments is None:
        return checkpoint.is_dir()
    return arguments.get("labels") is not None


def remembered_settings(checkpoint: Path, kind: type[Any] | None) -> RememberedSettings:
    """Return how the rows of a model's training data are read and evaluated, by argument of its data module.

    These are names of columns, the delimiter and encoding, the template of prompts, limits of questions and answers,
    and whatever else is a single value and not in ``DataModule.new_in_each_run``.

    Args:
        checkpoint: a checkpoint in the folder of a run, or a model folder. Without a ``config.yaml``, as for models
            that were trained by another program, the result is empty.
        kind: class of the data module. Of classes that are no ``DataModule``, only names of columns are remembered.
    """
    new = getattr(kind, "new_in_each_run", None)
    return {
        name: value
        for name, value in _data_of(checkpoint).items()
        if isinstance(name, str)
        and (_names_columns(name, value) or (new is not None and name not in new and type(value) in _SINGLE))
    }


def training_sources(checkpoint: Path) -> dict[str, str | float | list[str]]:
    """Return the arguments that choose a model's training and validation rows, if they name local files.

    Args:
        checkpoint: a checkpoint in the folder of a run, or a model folder.
    """
    arguments = _data_of(checkpoint)
    names = ("train", "validation", *_CHOOSING) if _is_local(arguments.get("train")) else ("validation",)
    found = {name: arguments.get(name) for name in names}
    return {name: value for name, value in found.items() if value is not None and _is_local(value)}


def _data_of(checkpoint: Path) -> dict[str, Any]:
    """Return the arguments of a model's data module; empty if they are unknown."""
    folder = checkpoint if checkpoint.is_dir() else run_of(checkpoint)
    return (None if folder is None else data_arguments(folder / "config.yaml")) or {}


def _is_local(source: Any) -> bool:
    if isinstance(source, list):
        return all(isinstance(each, str) and _is_local(each) for each in source)
    return type(source) is float or (isinstance(source, str) and not source.startswith("hub:"))


def _names_columns(name: str, value: Any) -> bool:
    if name.endswith("_columns") and isinstance(value, list):
        return all(type(each) in (str, int) for each in value)
    return name.endswith("_column") and isinstance(value, str)
