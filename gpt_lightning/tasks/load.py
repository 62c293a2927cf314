"""From a checkpoint to the task in it."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from gpt_lightning import tasks
from gpt_lightning.checkpoints import read as weights
from gpt_lightning.checkpoints.read import find_base, find_checkpoint, first_line
from gpt_lightning.errors import InputError
from gpt_lightning.models import huggingface
from gpt_lightning.tokenizers.build import load_tokenizer
from gpt_lightning.tokenizers.tokenizer import Tokenizer

__all__ = ["find_checkpoint", "load_task", "read_checkpoint"]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint of one of our tasks holds, or a model's folder; see ``models.weights``."""
    checkpoint = weights.read_checkpoint(path)
    hparams = checkpoint["hyper_parameters"]
    if path.is_dir():
        checkpoint["tokenizer"] = load_tokenizer(str(path), key="its tokenizer").to_json()
        found = _task_in_folder(huggingface.read_config(path))
        if found is None:
            return checkpoint  # a backbone alone
        hparams.setdefault("task", found.__name__)
    types = get_type_hints(_task_named(hparams.get("task"), path).__init__)
    for name, value in hparams.items():
        if name != "task" and not (name in types and _is_plain(value, types[name])):
            raise InputError(f"{path}: its hyper-parameter {name!r} is none that a {hparams['task']} has")
    return checkpoint


def _task_named(name: object, path: Path) -> type[tasks.Task]:
    """Return the task class that the checkpoint or model folder ``path`` names.

    Raises:
        InputError: there is no such class. Nothing that a checkpoint names is imported.
    """
    if name not in _public_names():
        raise InputError(f"{path}: holds no task that this version of gpt-lightning knows")
    found: type[tasks.Task] = getattr(tasks, str(name))
    return found


def _task_in_folder(pretrained: huggingface.Pretrained) -> type[tasks.Task] | None:
    """Return the class of the task in a model folder; None for a backbone alone.

    Raises:
        InputError: the class is unknown, or has another head than the folder's ``config.json`` names.
    """
    folder, family, head = pretrained.folder, pretrained.family, pretrained.head
    if pretrained.task is None:
        public = (_task_named(name, folder) for name in _public_names())
        return next((task for task in public if task.huggingface_head is head), None)
    task = _task_named(pretrained.task, folder)
    if family is not None and task.huggingface_head is not head:
        raise InputError(
            f"{folder}: config.json names a {family.architecture(head)}, gpt_lightning.json a {pretrained.task}; "
            "delete gpt_lightning.json if another program has changed the folder"
        )
    return task


def _public_names() -> list[str]:
    return [name for name in tasks.__all__ if name != "Task"]


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


def load_task(path: Path, init_from: str | None = None) -> tuple[tasks.Task, Tokenizer]:
    """The task of a checkpoint, in ``eval`` mode, and its tokenizer.

    Args:
        path: as ``find_checkpoint`` gives it.
        init_from: where the weights are that its adapters were trained beside; None is where they were then.

    Raises:
        InputError: it is damaged or none of ours, or these weights are gone, or others.
    """
    checkpoint = read_checkpoint(path)
    if "tokenizer" not in checkpoint:
        raise InputError(f"{path}: holds no tokenizer; it was not written by this project's trainer")
    hparams, tokenizer = checkpoint["hyper_parameters"], Tokenizer.from_json(checkpoint["tokenizer"])
    if "task" not in hparams:
        raise InputError(f"{path}: holds a backbone without a head; start from it with --model.init_from")
    if "init_from" in hparams:
        base = init_from or hparams["init_from"]
        find_base(path, base, "say where with --init_from")
        checkpoint["hyper_parameters"] = hparams = hparams | {"init_from": base}
    elif init_from is not None:
        raise InputError(f"--init_from={init_from}: {path} holds all of its weights; leave it out")
    task_class = _task_named(hparams["task"], path)
    try:
        if path.is_dir():
            task = task_class.from_hparams(hparams)
            huggingface.load_weights(task, huggingface.read_config(path))
        else:
            task = task_class.from_checkpoint(checkpoint)
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: its weights do not fit its hyper-parameters: {first_line(error)}") from None
    embeddings = task.backbone.config.vocab_size
    if embeddings is not None and tokenizer.vocab_size > embeddings:
        raise InputError(f"{path}: its tokenizer has {tokenizer.vocab_size} ids, its embedding {embeddings}")
    return task.eval(), tokenizer
