"""Loading of a task from a checkpoint or a model folder, and the search for its class."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gpt_lightning import tasks
from gpt_lightning.checkpoints import nanogpt, read
from gpt_lightning.checkpoints.read import find_base, find_checkpoint, first_line
from gpt_lightning.downloads import only_downloads
from gpt_lightning.errors import InputError
from gpt_lightning.models import huggingface
from gpt_lightning.named_classes import import_named, is_allowed, is_ours
from gpt_lightning.status import status
from gpt_lightning.tasks.base import Task
from gpt_lightning.tasks.plain_values import fits
from gpt_lightning.tasks.restore import build_task, restore_task
from gpt_lightning.tasks.saving import argument_types, class_path
from gpt_lightning.tokenizers.build import load_tokenizer
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.tokenizers.tokenizer import Tokenizer

__all__ = ["find_checkpoint", "load_task", "read_checkpoint", "task_class", "task_from_checkpoint"]


def task_class(name: object, allow_import: Sequence[str] = ()) -> type[Task]:
    """Return the task class that a checkpoint names.

    A class of this package, or one that the program has already imported, needs no permission. Any other module is
    imported only if it belongs to a package that the user allows.

    Args:
        name: dotted path of the class. Checkpoints of version 0.1 hold the bare name of a class of this package.
        allow_import: packages that may be imported.

    Raises:
        InputError: the class is not a task, or its package is not allowed.
    """
    if isinstance(allow_import, str):
        raise InputError(f"allow_import={allow_import!r} must be a list of packages, such as [{allow_import!r}]")
    if not isinstance(name, str):
        raise InputError(f"the name of the checkpoint's task is {name!r}, not a string. Use another checkpoint")
    if is_ours(name):
        attribute = name.rpartition(".")[2]
        ours = getattr(tasks, attribute, None)
        if not (isinstance(ours, type) and issubclass(ours, Task)) or ours is Task:
            raise InputError(
                f"this version of gpt-lightning has no task {attribute!r}. "
                "Install the version that wrote the checkpoint"
            )
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
    """Return the content of a checkpoint or a model folder, after checking its task and hyper-parameters.

    See ``checkpoints.read.read_checkpoint`` for the format.

    Raises:
        InputError: it is damaged, its task is unknown or not allowed, or a hyper-parameter does not fit the task.
    """
    checkpoint = read.read_checkpoint(path)
    hparams = checkpoint["hyper_parameters"]
    try:
        if path.is_dir():
            tokenizer, pretrained = load_tokenizer(str(path), key="its tokenizer"), huggingface.read_config(path)
            checkpoint["tokenizer"] = tokenizer.to_json()
            found = _task_in_folder(pretrained, allow_import)
            if found is None:
                return checkpoint  # a backbone without a head
            if pretrained.task is None:
                hparams["layout"] = asdict(_published_layout(tokenizer, pretrained.pad_token_id))
        else:
            found = task_class(hparams.get("task"), allow_import)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error.__cause__
    hparams["task"] = class_path(found)
    # Versions that did not store the layout had only this one.
    hparams.setdefault("layout", asdict(InputLayout(version=1)))
    types = argument_types(found)
    if "word_rules" in types:  # Versions that did not store the rules split texts without any.
        hparams.setdefault("word_rules", [])
    for name, value in hparams.items():
        if name != "task" and not (name in types and fits(value, types[name])):
            raise InputError(
                f"{path}: the hyper-parameter {name!r} does not fit the constructor of {hparams['task']}. "
                "Use the version that wrote the checkpoint, or another checkpoint"
            )
    return checkpoint


def _published_layout(tokenizer: Tokenizer, pad_token_id: int | None) -> InputLayout:
    """Return the layout of a Hugging Face head.

    Its classes for classification pool the last token that is not ``pad_token_id``. Tokens of the suffix that have this
    id are therefore left out; earlier tokens do not depend on them, because these models are causal.
    """
    layout = InputLayout.published(tokenizer)
    suffix = list(layout.suffix or [])
    while suffix and suffix[-1] == pad_token_id:
        suffix.pop()
    return replace(layout, suffix=suffix)


def _task_in_folder(pretrained: huggingface.Pretrained, allow_import: Sequence[str]) -> type[Task] | None:
    """Return the class of the task in a model folder, or None for a backbone without a head.

    Raises:
        InputError: the class is unknown or not allowed, or its head is not the one in the folder's ``config.json``.
    """
    family, head = pretrained.family, pretrained.head
    if pretrained.task is None and head is None:
        return None
    if pretrained.task is None:
        return next((task for task in tasks.CONCRETE if task.huggingface_head is head), None)
    task = task_class(pretrained.task, allow_import)
    if family is not None and task.huggingface_head is not head:
        raise InputError(
            f"config.json names a {family.architecture(head)}, but gpt_lightning.json names a {pretrained.task}. "
            "If another program changed the folder, delete gpt_lightning.json"
        )
    return task


def load_task(path: Path, init_from: str | None = None, allow_import: Sequence[str] = ()) -> tuple[Task, Tokenizer]:
    """Load a task, in ``eval`` mode, and its tokenizer.

    Args:
        path: checkpoint or model folder, from ``find_checkpoint``.
        init_from: new location of the model that its adapters were trained on, if it has moved.
        allow_import: packages of the user that the task's class may be imported from.

    Raises:
        InputError: it is damaged, its task is unknown, or the base model of its adapters is missing or differs.
    """
    with status(f"Loading {path}"):
        return task_from_checkpoint(path, read_checkpoint(path, allow_import), init_from, allow_import)


def task_from_checkpoint(
    path: Path, checkpoint: dict[str, Any], init_from: str | None = None, allow_import: Sequence[str] = ()
) -> tuple[Task, Tokenizer]:
    """Build the task and its tokenizer from the content of the checkpoint or model folder ``path``.

    Args:
        path: checkpoint or model folder.
        checkpoint: its content, from ``read_checkpoint``.
        init_from: as in ``load_task``.
        allow_import: as in ``load_task``.

    Raises:
        InputError: as in ``load_task``.
    """
    hparams, tokenizer = checkpoint["hyper_parameters"], saved_tokenizer(path, checkpoint)
    if "task" not in hparams:
        raise InputError(f"{path}: holds a backbone without a head. Fine-tune it with --model.init_from")
    named = [] if init_from is None else [init_from]
    if "init_from" in hparams:
        base = init_from or hparams["init_from"]
        with only_downloads(named):
            find_base(path, base, "give LOCATION with --init_from")
        checkpoint["hyper_parameters"] = hparams = hparams | {"init_from": base}
    elif init_from is not None:
        raise InputError(
            f"--init_from={init_from}: {path} has all of its weights and needs no base model. Leave the option out"
        )
    found = task_class(hparams["task"], allow_import)
    try:
        with only_downloads(named):
            if path.is_dir():
                task = build_task(found, hparams)
                huggingface.load_weights(task, huggingface.read_config(path))
            else:
                task = restore_task(found, checkpoint)
    except (TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError) as error:
        raise InputError(
            f"{path}: the weights do not fit the hyper-parameters ({first_line(error)}). Use another checkpoint"
        ) from None
    embeddings = task.backbone.config.vocab_size
    if embeddings is not None and tokenizer.vocab_size > embeddings:
        raise InputError(
            f"{path}: the tokenizer has {tokenizer.vocab_size} ids, but the embedding has only {embeddings} rows. "
            "Use the tokenizer that the model was trained with"
        )
    return task.eval(), tokenizer


def saved_tokenizer(path: Path, checkpoint: dict[str, Any]) -> Tokenizer:
    """Return the tokenizer in the content of the checkpoint or model folder ``path``.

    Raises:
        InputError: it has no tokenizer, or a damaged one.
    """
    if "tokenizer" not in checkpoint and checkpoint.get("format") == nanogpt.FORMAT:
        raise InputError(
            f"{path}: nanoGPT's checkpoints hold no tokenizer, and a meta.pkl could run any code. Save the tokenizer "
            f"that it was trained with as {path.parent / nanogpt.TOKENIZER_FILE}"
        )
    if "tokenizer" not in checkpoint:
        raise InputError(
            f"{path}: holds no tokenizer, because its data module had no gpt_lightning Tokenizer. "
            "Load its weights with CausalLM(init_from=...) or another task"
        )
    try:
        return Tokenizer.from_json(checkpoint["tokenizer"])
    except InputError as error:
        raise InputError(f"{path}: its tokenizer is {error}. Use another checkpoint") from None
