"""Safe reading of checkpoints and their weights, without unpickling objects or running code."""

import pickle
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import nn

from gpt_lightning.checkpoints.archive import check_archive
from gpt_lightning.checkpoints.manifest import FILE, Manifest, verify
from gpt_lightning.checkpoints.structure import check_kinds, check_structure
from gpt_lightning.downloads import may_download, only_downloads
from gpt_lightning.errors import InputError
from gpt_lightning.models import huggingface
from gpt_lightning.models.config import PER_TASK, GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.folder import is_model_folder
from gpt_lightning.models.lora import ADAPTER_CONFIG, LoRA, check_base, merge_adapters, weights_sha256

HUB: Final = "hub:"


def find_checkpoint(model: str, which: Literal["best", "last"] = "best") -> Path:
    """Return the path of the checkpoint or model folder that ``model`` names.

    Args:
        model: checkpoint file, run folder, model folder (exported or from Hugging Face), or ``hub:OWNER/NAME``.
        which: checkpoint of a run folder to return. ``best`` returns the last one if no checkpoint is marked as best.

    Raises:
        InputError: the model does not exist, or cannot be downloaded.
    """
    if model.startswith(HUB):
        return _download(model)
    if "://" in model:
        raise InputError(f"{model}: checkpoints are read from local files only. Download it, and give its path")
    path = Path(model)
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(
            f"{model}: no checkpoint, run folder or model folder has this path. Check the path; for a model of the "
            f"Hugging Face hub, write {HUB}OWNER/NAME"
        )
    if is_model_folder(path):
        return path
    if (path / ADAPTER_CONFIG).is_file():
        raise InputError(
            f"{model}: holds only adapters in peft's format. Merge them into their base model with peft "
            "(merge_and_unload, then save_pretrained), or give the run that they were exported from"
        )
    manifest = Manifest.read(path / "checkpoints")
    if not manifest.checkpoints:
        raise InputError(
            f"{model}: not a run with checkpoints, because {path / 'checkpoints' / FILE} is missing or empty. "
            "Give the folder of a run (LOG_DIR/EXPERIMENT/version_N) or a checkpoint file"
        )
    best = manifest.named(manifest.best)
    return path / "checkpoints" / (best if best and which == "best" else manifest.checkpoints[-1]).file


def _download(model: str) -> Path:
    """Download a model's configuration, safetensors and tokenizer from the hub, and return its folder."""
    from huggingface_hub import snapshot_download

    patterns, is_local = ["*.json", "*.safetensors", "*.jinja", "merges.txt"], not may_download(model)
    try:
        name = model.removeprefix(HUB)
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=is_local))
    except Exception as error:  # for any failure, of the name or the network, the remedy is the same
        if is_local:
            raise InputError(
                f"{model}: not on this machine, and not downloaded, because only a file names it and you did not"
            ) from None
        raise InputError(
            f"{model}: cannot be downloaded ({first_line(error)}). Check the name and the network, "
            "or download the model by other means and give its folder"
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint with tensors on the CPU, or the hyper-parameters of a model folder.

    A checkpoint is verified first, and no code in it is run.

    Raises:
        InputError: it is not a checkpoint of gpt-lightning, is damaged, or holds objects other than plain values.
    """
    if path.is_dir():
        return _folder_as_checkpoint(path)
    check_archive(path)
    verify(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: not a checkpoint that can be read safely: {first_line(error)}. Use a checkpoint of gpt-lightning"
        ) from None
    except Exception as error:  # torch raises many kinds for damaged files
        raise InputError(f"{path}: damaged or not a checkpoint: {first_line(error)}. Use another checkpoint") from None
    return check_structure(checkpoint, str(path))


def _folder_as_checkpoint(folder: Path) -> dict[str, Any]:
    return {"hyper_parameters": dict(huggingface.read_config(folder).hparams)}


def load_backbone(backbone: GPT, source: str, visited: tuple[Path, ...] = ()) -> None:
    """Load the backbone's weights from a checkpoint of any task, with adapters merged.

    Args:
        backbone: backbone to fill. Its configuration must equal the saved one, except for the fields ``PER_TASK``.
        source: model, as for ``find_checkpoint``.
        visited: checkpoints with adapters that lead to ``source``, to detect cycles.

    Raises:
        InputError: there is no checkpoint, its backbone has another configuration, or the base model of its adapters
            is missing or differs.
    """
    path = find_checkpoint(source)
    if path.is_dir():
        huggingface.load_weights(backbone, huggingface.read_config(path))
        return
    checkpoint = read_checkpoint(path)
    hparams = checkpoint["hyper_parameters"]
    saved = hparams.get("backbone", {})
    for field in fields(GPTConfig):
        # Fields added after the checkpoint was written take their defaults, which keep the old behavior.
        current, pretrained = getattr(backbone.config, field.name), saved.get(field.name, field.default)
        if current != pretrained and field.name not in PER_TASK:
            raise InputError(
                f"--model.init_from={source}: backbone.{field.name} is {pretrained} in the checkpoint, but {current} "
                f"in the configuration. Set model.backbone.{field.name}={pretrained}"
            )
    try:
        lora = LoRA.from_hparams(hparams)
        if lora.r:
            _load_base(backbone, path, checkpoint, visited)
            merge_adapters(backbone, checkpoint["state_dict"], lora)
        else:
            load_weights(backbone, "backbone.", path)
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"{path}: the adapters do not fit the backbone ({first_line(error)}). Use another checkpoint"
        ) from None


def _load_base(backbone: GPT, path: Path, checkpoint: Mapping[str, Any], visited: tuple[Path, ...]) -> None:
    """Load the weights of the base model that the adapters of a checkpoint were trained on."""
    init_from = checkpoint["hyper_parameters"].get("init_from")
    if path in visited:
        raise InputError(f"{path}: its model.init_from refers back to itself ({init_from}). Use another checkpoint")
    export = f"gpt-lightning export {path} DIR --init_from WHERE"
    with only_downloads():
        base = find_base(path, init_from, f"merge adapters and base by {export}, and start from DIR")
        load_backbone(backbone, base, (*visited, path))
    parts = {"backbone": weights_sha256(backbone)}
    check_base(checkpoint.get("frozen_sha256"), parts, base, f"{export}, and start from that")


def find_base(path: Path, init_from: object, remedy: str) -> str:
    """Check that the base model of a checkpoint's adapters exists, and return ``init_from``.

    Args:
        path: checkpoint with adapters.
        init_from: base model, as for ``find_checkpoint``.
        remedy: advice for the error if the base model is missing. LOCATION stands for its new location.

    Raises:
        InputError: the base model is missing.
    """
    if not isinstance(init_from, str):
        raise InputError(f"{path}: damaged: it has adapters, but names no base model. Use another checkpoint")
    try:
        find_checkpoint(init_from)
    except InputError as error:
        is_refused = init_from.startswith(HUB) and not may_download(init_from)
        location = init_from if is_refused else "its new location"
        advice = f"{'To download it' if is_refused else 'If it has moved'}, {remedy.replace('LOCATION', location)}"
        raise InputError(f"{path}: the base model of its adapters is missing: {error}. {advice}") from None
    return init_from


def load_head(task: nn.Module, source: str) -> None:
    """Load the head from a checkpoint of the same task; of a language model with adapters, from its base model.

    Args:
        task: module with a ``backbone`` and a ``head`` of the same shape.
        source: model, as for ``find_checkpoint``.

    Raises:
        InputError: there is no checkpoint, or its head has another shape.
    """
    path = find_checkpoint(source)
    if path.is_dir():
        huggingface.load_weights(task, huggingface.read_config(path))
        return
    checkpoint = read_checkpoint(path)
    if "head" in checkpoint.get("frozen_sha256", {}):
        with only_downloads():
            load_head(task, str(checkpoint["hyper_parameters"].get("init_from")))
    else:
        head = task.head
        assert isinstance(head, nn.Module)
        load_weights(head, "head.", path)


def load_weights(module: nn.Module, prefix: str, path: Path) -> None:
    """Load the weights whose names begin with ``prefix`` from a checkpoint file into ``module``.

    Raises:
        InputError: the weights do not fit ``module``.
    """
    saved = read_checkpoint(path)["state_dict"].items()
    state = {name.removeprefix(prefix): value for name, value in saved if name.startswith(prefix)}
    check_kinds(state, module, str(path))
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"{path}: its weights {prefix}* do not fit ({first_line(error)}). Use a checkpoint of the same shape"
        ) from None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, cut to 200 characters."""
    return str(error).strip().split("\n")[0][:200]
