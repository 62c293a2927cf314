"""From a checkpoint to the task in it."""

from pathlib import Path
from typing import Any

from gpt_lightning import tasks
from gpt_lightning.data.tokenizer import Tokenizer
from gpt_lightning.errors import InputError
from gpt_lightning.models import weights
from gpt_lightning.models.weights import find_checkpoint, first_line

__all__ = ["find_checkpoint", "load_task", "read_checkpoint"]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint of one of our tasks holds; see ``models.weights``."""
    checkpoint = weights.read_checkpoint(path)
    # Nothing else that a checkpoint names is looked up, let alone imported.
    if checkpoint["hyper_parameters"].get("task") not in set(tasks.__all__) - {"Task"}:
        raise InputError(f"{path}: holds no task that this version of gpt-lightning knows")
    return checkpoint


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
