"""Loading a task from a checkpoint or a model folder, and finding its class."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gpt_lightning import tasks
from gpt_lightning.checkpoints import read
from gpt_lightning.checkpoints.read import find_base, find_checkpoint, first_line
from gpt_lightning.errors import InputError
from gpt_lightning.models import huggingface
from gpt_lightning.named_classes import import_named, is_allowed, is_ours
from gpt_lightning.status import status
from gpt_lightning.tasks.base import Task
from gpt_lightning.tasks.plain_values import fits
from gpt_lightning.tasks.restore import build_task, restore_task
from gpt_lightning.tasks.saving import argument_types, class_path
from gpt_lightning.tokenizers.build import load_tokenizer
from gpt_lightning.tokenizers.tokenizer import Tokenizer

__all__ = ["find_checkpoint", "load_task", "read_checkpoint", "task_class", "task_of"]


def task_class(name: object, allow_import: Sequence[str] = ()) -> type[Task]:
    """Return the class that a checkpoint names.

    A class of this package, or one that the program has already imported, needs no permission. Any other module is
    imported only if it belongs to a package that the user allows.

    Args:
        name: its dotted path, or in checkpoints of version 0.1 the bare name of a class of this package.
        allow_import: packages that may be imported.

    Raises:
        InputError: it is not a task, or its package is not allowed.
    """
    if isinstance(allow_import, str):
        raise InputError(f"allow_import={allow_import!r} must be a list of packages")
    if not isinstance(name, str):
        raise InputError(f"the checkpoint names no task, but {name!r}")
    if is_ours(name):
        attribute = name.rpartition(".")[2]
        ours = getattr(tasks, attribute, None)
        if not (isinstance(ours, type) and issubclass(ours, Task)) or ours is Task:
            raise InputError(f"this version of gpt-lightning has no task {attribute}")
        return ours
    known = {class_path(each): each for each in _subclasses(Task)}  # type: ignore[type-abstract]
    if name in known:
        return known[name]
    if not is_allowed(name, allow_import):
        raise InputError(
            f"the task is {name}, which is not part of gpt-lightning. "
            f"If you trust its code, add --allow_import {name.partition('.')[0]}"
        )
    found = import_named(name, "task")
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise InputError(f"{name} is not a task: it must be a subclass of {class_path(Task)}")
    return found


def _subclasses(base: type[Task]) -> Iterator[type[Task]]:
    for each in base.__subclasses__():
        yield each
        yield from _subclasses(each)


def read_checkpoint(path: Path, allow_import: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a checkpoint or a model folder holds, once its task is known; see ``checkpoints.read``.

    Raises:
        InputError: it is damaged, its task is unknown or not allowed, or a hyper-parameter does not fit the task.
    """
    checkpoint = read.read_checkpoint(path)
    hparams = checkpoint["hyper_parameters"]
    try:
        if path.is_dir():
            checkpoint["tokenizer"] = load_tokenizer(str(path), key="its tokenizer").to_json()
            found = _task_in_folder(huggingface.read_config(path), allow_import)
            if found is None:
                return checkpoint  # a backbone alone
        else:
            found = task_class(hparams.get("task"), allow_import)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error.__cause__
    hparams["task"] = class_path(found)
    types = argument_types(found)
    for name, value in hparams.items():
        if name != "task" and not (name in types and fits(value, types[name])):
            raise InputError(f"{path}: its hyper-parameter {name!r} does not belong to {hparams['task']}")
    return checkpoint


def _task_in_folder(pretrained: huggingface.Pretrained, allow_import: Sequence[str]) -> type[Task] | None:
    """Return the class of the task in a model folder; None for a backbone alone.

    Raises:
        InputError: the class is unknown or not allowed, or has another head than the folder's ``config.json`` names.
    """
    family, head = pretrained.family, pretrained.head
    if pretrained.task is None and head is None:
        return None
    if pretrained.task is None:
        public = (getattr(tasks, name) for name in tasks.__all__ if name != Task.__name__)
        return next((task for task in public if task.huggingface_head is head), None)
    task = task_class(pretrained.task, allow_import)
    if family is not None and task.huggingface_head is not head:
        raise InputError(
            f"config.json names a {family.architecture(head)}, gpt_lightning.json a {pretrained.task}; "
            "delete gpt_lightning.json if another program has changed the folder"
        )
    return task


def load_task(path: Path, init_from: str | None = None, allow_import: Sequence[str] = ()) -> tuple[Task, Tokenizer]:
    """Load the task of a checkpoint, in ``eval`` mode, and its tokenizer.

    Args:
        path: a checkpoint or a model folder, from ``find_checkpoint``.
        init_from: where the weights are that its adapters were trained on, if they have moved.
        allow_import: packages of the user's own that it may name its task from.

    Raises:
        InputError: it is damaged or unknown, or the weights of its adapters are gone or differ.
    """
    with status(f"Loading {path}"):
        return task_of(path, read_checkpoint(path, allow_import), init_from, allow_import)


def task_of(
    path: Path, checkpoint: dict[str, Any], init_from: str | None = None, allow_import: Sequence[str] = ()
) -> tuple[Task, Tokenizer]:
    """Build the task in the checkpoint or model folder ``path`` from what ``read_checkpoint`` has read.

    Arguments and errors as in ``load_task``.
    """
    if "tokenizer" not in checkpoint:
        raise InputError(f"{path}: holds no tokenizer: its data module had none that this project knows")
    hparams, tokenizer = checkpoint["hyper_parameters"], Tokenizer.from_json(checkpoint["tokenizer"])
    if "task" not in hparams:
        raise InputError(f"{path}: holds a backbone without a head. Start from it with --model.init_from")
    if "init_from" in hparams:
        base = init_from or hparams["init_from"]
        find_base(path, base, "say where with --init_from")
        checkpoint["hyper_parameters"] = hparams = hparams | {"init_from": base}
    elif init_from is not None:
        raise InputError(f"--init_from={init_from}: {path} holds all of its weights. Leave the option out")
    found = task_class(hparams["task"], allow_import)
    try:
        if path.is_dir():
            task = build_task(found, hparams)
            huggingface.load_weights(task, huggingface.read_config(path))
        else:
            task = restore_task(found, checkpoint)
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: its weights do not fit its hyper-parameters: {first_line(error)}") from None
    embeddings = task.backbone.config.vocab_size
    if embeddings is not None and tokenizer.vocab_size > embeddings:
        raise InputError(f"{path}: its tokenizer has {tokenizer.vocab_size} ids, its embedding {embeddings} rows")
    return task.eval(), tokenizer
