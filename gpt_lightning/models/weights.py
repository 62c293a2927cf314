"""Reading checkpoints, without running anything that they hold."""

import pickle
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import nn

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.manifest import FILE, Manifest, verify

PER_TASK: Final = ("attention", "dropout", "attention_dropout")
"""What of a backbone's configuration its weights do not depend on: each task decides anew."""


def find_checkpoint(model: str, which: Literal["best", "last"] = "best") -> Path:
    """The checkpoint that MODEL means: a file, or of a run's folder its best, or its last; the last where none is best.

    Raises:
        InputError: there is none.
    """
    if "://" in model:
        raise InputError(f"{model}: checkpoints are read from local files only; download it first")
    path = Path(model)
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{model}: no such checkpoint or run folder")
    manifest = Manifest.read(path / "checkpoints")
    if not manifest.checkpoints:
        raise InputError(f"{model}: no run with checkpoints: {path / 'checkpoints' / FILE} lists none")
    best = manifest.named(manifest.best)
    return path / "checkpoints" / (best if best and which == "best" else manifest.checkpoints[-1]).file


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, tensors on the CPU; it is refused if its bytes are not those that were written.

    Nothing in it is run.

    Raises:
        InputError: it is no checkpoint of this project, is damaged, or holds anything but plain values.
    """
    verify(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: not a checkpoint that can be read safely: {first_line(error)}") from None
    except (RuntimeError, OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: truncated or damaged, or not a checkpoint: {first_line(error)}") from None
    hparams = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if not isinstance(hparams, dict) or "state_dict" not in checkpoint:
        raise InputError(f"{path}: a torch file, but not a checkpoint of gpt-lightning")
    return dict(checkpoint)


def load_backbone(backbone: GPT, source: str) -> None:
    """Take over the weights of the backbone in a checkpoint, whichever task it was trained for.

    Args:
        backbone: of the same shape; what its attention sees and its dropout may differ.
        source: a checkpoint or the folder of a run.

    Raises:
        InputError: there is no checkpoint, or its backbone has another shape.
    """
    saved = read_checkpoint(find_checkpoint(source))["hyper_parameters"].get("backbone", {})
    for field in fields(GPTConfig):
        # A field that is younger than the checkpoint is what it was before there was a choice.
        mine, theirs = getattr(backbone.config, field.name), saved.get(field.name, field.default)
        if mine != theirs and field.name not in PER_TASK:
            raise InputError(f"--model.init_from={source}: backbone.{field.name} is {theirs} there, but {mine} here")
    load_weights(backbone, "backbone.", source)


def load_weights(module: nn.Module, prefix: str, source: str) -> None:
    """Take over the weights whose names begin with ``prefix`` from a checkpoint or the folder of a run.

    Raises:
        InputError: there is no checkpoint, or its weights are not those of ``module``.
    """
    path = find_checkpoint(source)
    state = read_checkpoint(path)["state_dict"].items()
    try:
        module.load_state_dict({name.removeprefix(prefix): value for name, value in state if name.startswith(prefix)})
    except RuntimeError as error:
        raise InputError(f"{path}: its weights named {prefix}* do not fit: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """What went wrong, in short."""
    return str(error).strip().split("\n")[0][:200]
