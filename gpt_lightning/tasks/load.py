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
        if "task" not in hparams:
            return checkpoint  # a backbone alone
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
    task_class: type[tasks.Task] = getattr(tasks, hparams["task"])
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
