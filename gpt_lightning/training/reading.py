"""Reading checkpoints again, without running anything that they hold."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from gpt_lightning import tasks
from gpt_lightning.data.tokenizer import Tokenizer
from gpt_lightning.errors import InputError


def find_checkpoint(model: str, order: tuple[str, str] = ("best", "last")) -> Path:
    """The checkpoint that MODEL means: a file, or a run's folder, of which the first there is in ``order`` is taken."""
    if "://" in model:
        raise InputError(f"{model}: checkpoints are read from local files only; download it first")
    path = Path(model)
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{model}: no such checkpoint or run folder")
    for name in order:
        if (checkpoint := path / "checkpoints" / f"{name}.ckpt").is_file():
            return checkpoint
    raise InputError(f"{model}: no checkpoints/best.ckpt or checkpoints/last.ckpt in this folder")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, tensors on the CPU; it is refused if reading it would run code.

    Raises:
        InputError: it is no checkpoint of this project, is damaged, or holds anything but plain values.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: not a checkpoint that can be read safely: {_first_line(error)}") from None
    except (RuntimeError, OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: truncated or damaged, or not a checkpoint: {_first_line(error)}") from None
    hparams = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if not isinstance(hparams, dict) or "state_dict" not in checkpoint:
        raise InputError(f"{path}: a torch file, but not a checkpoint of gpt-lightning")
    if hparams.get("task") not in _task_names():
        raise InputError(f"{path}: holds no task that this version of gpt-lightning knows")
    return dict(checkpoint)


def load_task(path: Path) -> tuple[tasks.Task, Tokenizer]:
    """The task of a checkpoint, in ``eval`` mode, and its tokenizer."""
    checkpoint = read_checkpoint(path)
    if "tokenizer" not in checkpoint:
        raise InputError(f"{path}: holds no tokenizer; it was not written by this project's trainer")
    try:
        task: tasks.Task = getattr(tasks, checkpoint["hyper_parameters"]["task"]).from_checkpoint(checkpoint)
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: its weights do not fit its hyper-parameters: {_first_line(error)}") from None
    return task.eval(), Tokenizer.from_json(checkpoint["tokenizer"])


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]


def _task_names() -> set[str]:
    """The tasks that a checkpoint may name: nothing else is looked up, let alone imported."""
    return set(tasks.__all__) - {"Task"}
