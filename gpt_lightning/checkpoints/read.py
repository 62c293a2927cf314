"""Safe reading of checkpoints and of the weights in them: no pickle, no code."""

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import nn

from gpt_lightning.checkpoints.manifest import FILE, Manifest, verify
from gpt_lightning.errors import InputError
from gpt_lightning.models import huggingface
from gpt_lightning.models.config import PER_TASK, GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.folder import is_model_folder
from gpt_lightning.models.lora import ADAPTER_CONFIG, LoRA, check_base, merge_adapters, weights_sha256

HUB: Final = "hub:"


def find_checkpoint(model: str, which: Literal["best", "last"] = "best") -> Path:
    """The checkpoint that MODEL means.

    A file; of a run's folder its best, or its last; the last where none is best; the folder itself of a model that was
    exported or comes from Hugging Face, also as ``hub:NAME``.

    Raises:
        InputError: there is none.
    """
    if model.startswith(HUB):
        return _download(model)
    if "://" in model:
        raise InputError(f"{model}: checkpoints are read from local files only; download it first")
    path = Path(model)
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{model}: no such checkpoint, run folder or model folder; from the hub: {HUB}OWNER/NAME")
    if is_model_folder(path):
        return path
    if (path / ADAPTER_CONFIG).is_file():
        raise InputError(
            f"{model}: holds peft's adapters alone; merge them into their model with peft (merge_and_unload, then "
            "save_pretrained), or give the run that they were exported from"
        )
    manifest = Manifest.read(path / "checkpoints")
    if not manifest.checkpoints:
        raise InputError(f"{model}: no run with checkpoints: {path / 'checkpoints' / FILE} lists none")
    best = manifest.named(manifest.best)
    return path / "checkpoints" / (best if best and which == "best" else manifest.checkpoints[-1]).file


def _download(model: str) -> Path:
    """The folder of a model of the hub: configuration, safetensors and tokenizer, no pickle and no code."""
    from huggingface_hub import snapshot_download

    name = model.removeprefix(HUB)
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.jinja", "merges.txt"]))
    except Exception as error:  # whatever is wrong, name or network, the way out is the same
        raise InputError(
            f"{model}: cannot be fetched ({first_line(error)}); check the name and the network, "
            "or download the model elsewhere and give its folder"
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, tensors on the CPU; it is refused if its bytes are not those that were written.

    Nothing in it is run. Of a model's folder it is what stands beside the weights.

    Raises:
        InputError: it is no checkpoint of this project, is damaged, or holds anything but plain values.
    """
    if path.is_dir():
        return _folder_as_checkpoint(path)
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


def _folder_as_checkpoint(folder: Path) -> dict[str, Any]:
    return {"hyper_parameters": dict(huggingface.read_config(folder).hparams)}


def load_backbone(backbone: GPT, source: str, through: tuple[Path, ...] = ()) -> None:
    """Take over the weights of the backbone in a checkpoint, whichever task it was trained for; adapters are merged.

    Args:
        backbone: of the same shape; what its attention sees and its dropout may differ.
        source: as ``find_checkpoint`` takes it.
        through: the checkpoints with adapters beside these weights.

    Raises:
        InputError: there is no checkpoint, or its backbone has another shape; or what its adapters were trained beside
            is gone, or other weights.
    """
    path = find_checkpoint(source)
    if path.is_dir():
        huggingface.load_weights(backbone, huggingface.read_config(path))
        return
    checkpoint = read_checkpoint(path)
    hparams = checkpoint["hyper_parameters"]
    saved = hparams.get("backbone", {})
    for field in fields(GPTConfig):
        # A field that is younger than the checkpoint is what it was before there was a choice.
        mine, theirs = getattr(backbone.config, field.name), saved.get(field.name, field.default)
        if mine != theirs and field.name not in PER_TASK:
            raise InputError(f"--model.init_from={source}: backbone.{field.name} is {theirs} there, but {mine} here")
    try:
        lora = LoRA.from_hparams(hparams)
        if lora.r:
            _load_base(backbone, path, checkpoint, through)
            merge_adapters(backbone, checkpoint["state_dict"], lora)
        else:
            load_weights(backbone, "backbone.", path)
    except (TypeError, RuntimeError) as error:
        raise InputError(f"{path}: its adapters do not fit: {first_line(error)}") from None


def _load_base(backbone: GPT, path: Path, checkpoint: Mapping[str, Any], through: tuple[Path, ...]) -> None:
    """Take over the weights that the adapters of a checkpoint were trained beside."""
    init_from = checkpoint["hyper_parameters"].get("init_from")
    if path in through:
        raise InputError(f"{path}: it starts from itself: its model.init_from is {init_from}")
    export = f"gpt-lightning export {path} DIR --init_from WHERE"
    base = find_base(path, init_from, f"write it as one model, {export}, and start from that")
    load_backbone(backbone, base, (*through, path))
    parts = {"backbone": weights_sha256(backbone)}
    check_base(checkpoint.get("frozen_sha256"), parts, base, f"{export}, and start from that")


def find_base(path: Path, init_from: object, remedy: str) -> str:
    """``init_from``, once it is clear that there is something.

    Args:
        path: the checkpoint whose adapters need it.
        init_from: where it should be.
        remedy: what to do where it is not.

    Raises:
        InputError: there is nothing.
    """
    if not isinstance(init_from, str):
        raise InputError(f"{path} holds adapters, but does not say what they were trained beside: damaged")
    try:
        find_checkpoint(init_from)
    except InputError as error:
        raise InputError(
            f"{path} holds adapters, and what they were trained beside is gone: {error}. If it has moved, {remedy}"
        ) from None
    return init_from


def load_head(task: nn.Module, source: str) -> None:
    """Take over the head of a checkpoint of the same task; of a language model with adapters it is that of its base.

    Args:
        task: with a ``backbone`` and a ``head`` of the same shape.
        source: as ``find_checkpoint`` takes it.

    Raises:
        InputError: there is no checkpoint, or it has no such head.
    """
    path = find_checkpoint(source)
    if path.is_dir():
        huggingface.load_weights(task, huggingface.read_config(path))
        return
    checkpoint = read_checkpoint(path)
    if "head" in checkpoint.get("frozen_sha256", {}):
        load_head(task, checkpoint["hyper_parameters"]["init_from"])
    else:
        head = task.head
        assert isinstance(head, nn.Module)
        load_weights(head, "head.", path)


def load_weights(module: nn.Module, prefix: str, path: Path) -> None:
    """Take over the weights whose names begin with ``prefix`` from the checkpoint in a file.

    Raises:
        InputError: its weights are not those of ``module``.
    """
    state = read_checkpoint(path)["state_dict"].items()
    try:
        module.load_state_dict({name.removeprefix(prefix): value for name, value in state if name.startswith(prefix)})
    except RuntimeError as error:
        raise InputError(f"{path}: its weights named {prefix}* do not fit: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """What went wrong, in short."""
    return str(error).strip().split("\n")[0][:200]
