"""From a checkpoint to the task in it."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from gpt_lightning import tasks
from gpt_lightning.data.tokenizer import Tokenizer
from gpt_lightning.errors import InputError
from gpt_lightning.models import weights
from gpt_lightning.models.weights import find_checkpoint, first_line

__all__ = ["find_checkpoint", "load_task", "read_checkpoint"]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint of one of our tasks holds; see ``models.weights``."""
    checkpoint = weights.read_checkpoint(path)
    hparams = checkpoint["hyper_parameters"]
    # Nothing else that a checkpoint names is looked up, let alone imported.
    if hparams.get("task") not in set(tasks.__all__) - {"Task"}:
        raise InputError(f"{path}: holds no task that this version of gpt-lightning knows")
    types = get_type_hints(getattr(tasks, hparams["task"]).__init__)
    for name, value in hparams.items():
        if name != "task" and not (name in types and _is_plain(value, types[name])):
            raise InputError(f"{path}: its hyper-parameter {name!r} is none that a {hparams['task']} has")
    return checkpoint


def _is_plain(value: Any, expected: Any) -> bool:
    """Whether ``value`` holds what ``expected`` is made of and nothing that a parser would look up.

    A configuration's mapping with a class in it, or a path in its place, would be imported or opened.
    """
    if is_dataclass(expected):
        names = {field.name for field in fields(expected)}
        return isinstance(value, dict) and set(value) <= names and all(map(_is_scalar, value.values()))
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and isinstance(item, int | float) for key, item in value.items())
    return _is_scalar(value)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def load_task(path: Path) -> tuple[tasks.Task, Tokenizer]:
    """The task of a checkpoint, in ``eval`` mode, and its tokenizer."""
    checkpoint = read_checkpoint(path)
    if "tokenizer" not in checkpoint:
        raise InputError(f"{path}: holds no tokenizer; it was not written by this project's trainer")
    try:
        task: tasks.Task = getattr(tasks, checkpoint["hyper_parameters"]["task"]).from_checkpoint(checkpoint)
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: its weights do not fit its hyper-parameters: {first_line(error)}") from None
    return task.eval(), Tokenizer.from_json(checkpoint["tokenizer"])
