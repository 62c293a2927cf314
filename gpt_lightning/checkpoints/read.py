"""Safe reading of checkpoints and their weights, without unpickling objects or running code."""

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
        newest = _newest_below(path.parent)
        raise InputError(
            f"{model}: no checkpoint, run folder or model folder has this path. Check the path"
            f"{'' if newest is None else f' (the newest run there is {newest})'}; for a model of the "
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
            f"Give the folder of a run ({_newest_below(path) or 'LOG_DIR/EXPERIMENT/version_N'}) or a checkpoint file"
        )
    best = manifest.named(manifest.best)
    return path / "checkpoints" / (best if best and which == "best" else manifest.checkpoints[-1]).file


def _newest_below(folder: Path) -> Path | None:
    """Return the newest run in the folder of an experiment or of all experiments; None without one."""
    found = [each for depth in ("*", "*/*") for each in folder.glob(f"{depth}/checkpoints/{FILE}")]
    newest = max(found, key=lambda each: each.stat().st_mtime, default=None)
    return None if newest is None else newest.parent.parent


def _download(model: str) -> Path:
    """Download a model's configuration, safetensors and tokenizer from the hub, and return its folder."""
    from huggingface_hub import snapshot_download

    name = model.removeprefix(HUB)
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.jinja", "merges.txt"]))
    except Exception as error:  # for any failure, of the name or the network, the remedy is the same
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
    verify(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: not a checkpoint that can be read safely: {first_line(error)}. Use a checkpoint of gpt-lightning"
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: damaged or not a checkpoint: {first_line(error)}. Use another checkpoint") from None
    hparams = checkpoint.get("hyper_parameters") if isinstance(checkpoint, dict) else None
    if not isinstance(hparams, dict) or "state_dict" not in checkpoint:
        raise InputError(
            f"{path}: this torch file is not a gpt-lightning checkpoint. Give a gpt-lightning checkpoint or a Hugging "
            "Face model folder"
        )
    return dict(checkpoint)


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
    base = find_base(path, init_from, f"merge adapters and base by {export}, and start from DIR")
    load_backbone(backbone, base, (*visited, path))
    parts = {"backbone": weights_sha256(backbone)}
    check_base(checkpoint.get("frozen_sha256"), parts, base, f"{export}, and start from that")


def find_base(path: Path, init_from: object, remedy: str) -> str:
    """Check that the base model of a checkpoint's adapters exists, and return ``init_from``.

    Args:
        path: checkpoint with adapters.
        init_from: base model, as for ``find_checkpoint``.
        remedy: advice for the error if the base model is missing.

    Raises:
        InputError: the base model is missing.
    """
    if not isinstance(init_from, str):
        raise InputError(f"{path}: damaged: it has adapters, but names no base model. Use another checkpoint")
    try:
        find_checkpoint(init_from)
    except InputError as error:
        raise InputError(
            f"{path}: the base model of its adapters is missing: {error}. If it has moved, {remedy}"
        ) from None
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
        load_head(task, checkpoint["hyper_parameters"]["init_from"])
    else:
        head = task.head
        assert isinstance(head, nn.Module)
        load_weights(head, "head.", path)


def load_weights(module: nn.Module, prefix: str, path: Path) -> None:
    """Load the weights whose names begin with ``prefix`` from a checkpoint file into ``module``.

    Raises:
        InputError: the weights do not fit ``module``.
    """
    state = read_checkpoint(path)["state_dict"].items()
    try:
        module.load_state_dict({name.removeprefix(prefix): value for name, value in state if name.startswith(prefix)})
    except RuntimeError as error:
        raise InputError(
            f"{path}: its weights {prefix}* do not fit ({first_line(error)}). Use a checkpoint of the same shape"
        ) from None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, cut to 200 characters."""
    return str(error).strip().split("\n")[0][:200]
