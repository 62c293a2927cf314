"""Safe reading of checkpoints and their weights, without unpickling objects or running code."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import nn

from gpt_lightning.checkpoints.archive import check_archive
from gpt_lightning.checkpoints.manifest import (
    FILE,
    REMEDY,
    Manifest,
    checkpoint_files,
    entry_of,
    notice,
    parse_name,
    verify,
)
from gpt_lightning.checkpoints.nanogpt import convert_nanogpt, is_nanogpt
from gpt_lightning.checkpoints.structure import check_kinds, check_structure
from gpt_lightning.downloads import may_download, only_downloads
from gpt_lightning.errors import InputError
from gpt_lightning.models import huggingface
from gpt_lightning.models.config import PER_TASK, GPTConfig
from gpt_lightning.models.encoder_decoder import EncoderDecoder
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.folder import is_model_folder
from gpt_lightning.models.huggingface.heads import CAUSAL_LM
from gpt_lightning.models.lm_head import LMHead
from gpt_lightning.models.lora import ADAPTER_CONFIG, LoRA, check_base, merge_adapters, weights_sha256
from gpt_lightning.models.new_tokens import merge_rows, pretrained_vocabulary

HUB: Final = "hub:"


def find_checkpoint(model: str, which: Literal["best", "last"] = "best") -> Path:
    """Return the path of the checkpoint or model folder that ``model`` names.

    Args:
        model: checkpoint file, run folder, model folder (exported or from Hugging Face), or ``hub:OWNER/NAME``.
        which: checkpoint of a run folder to return. If the best one is unknown, missing or damaged, ``best`` returns
            the last intact one and prints a line about it.

    Raises:
        InputError: the model does not exist or cannot be downloaded, or every checkpoint of the run is damaged.
    """
    if not model:
        raise InputError("the path of the model is empty. Give a checkpoint, or the folder of a run or a model")
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
    folder = path / "checkpoints"
    manifest = read_manifest(folder)
    if not manifest.checkpoints:
        raise InputError(
            f"{model}: not a run with checkpoints, because {folder / FILE} is missing or empty. "
            f"Give the folder of a run ({_newest_below(path) or 'LOG_DIR/EXPERIMENT/version_N'}) or a checkpoint file"
        )
    return best_checkpoint(folder, manifest) if which == "best" else folder / manifest.checkpoints[-1].file


def best_checkpoint(folder: Path, manifest: Manifest) -> Path:
    """Return the best checkpoint. If it is unknown, missing or damaged, print so and return the last intact one.

    Args:
        folder: folder of the checkpoints.
        manifest: list of at least one checkpoint.

    Raises:
        InputError: every checkpoint is damaged.
    """
    if manifest.best is None:
        reason = f"{folder}: no checkpoint is marked as the best"
    else:
        try:
            verify(folder / manifest.best)
            return folder / manifest.best
        except InputError as error:
            reason = f"the best checkpoint cannot be used: {error}"
    others = [entry.file for entry in reversed(manifest.checkpoints) if entry.file != manifest.best]
    last = next((name for name in others if is_intact(folder / name)), None)
    if last is None:
        raise InputError(f"{folder}: every checkpoint is damaged or missing. Use another run")
    notice(f"{reason}. Using {folder / last}")
    return folder / last


def read_manifest(folder: Path) -> Manifest:
    """Return the list of the checkpoints in ``folder``; if it is missing or damaged, print so and rebuild it.

    The file is not written, as the folder may belong to another user.
    """
    try:
        manifest = Manifest.read(folder)
        files = checkpoint_files(folder)
        if manifest != Manifest() or not files:
            return manifest
        notice(f"{folder / FILE}: missing. {REMEDY}")
    except InputError as error:
        notice(str(error))
        files = checkpoint_files(folder)
    return _rebuild(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.exists()))


@lru_cache(maxsize=16)
def _rebuild(files: Sequence[tuple[Path, int, int]]) -> Manifest:
    """Return a list of the intact checkpoints among ``files``; the newest one says which is the best.

    Args:
        files: path, size and time of each file, by their steps.
    """
    found = [path for path, _, _ in files if is_intact(path)]
    newest_of_step = {parse_name(path)[0]: path for path in found}
    entries = tuple(map(entry_of, newest_of_step.values()))
    best_step = _best_step(read_checkpoint(found[-1])) if found else None
    if best_step is not None and best_step not in newest_of_step:
        notice(f"{found[-1].parent}: the best checkpoint, of step {best_step}, is missing or damaged")
    best = next((entry.file for entry in entries if entry.step == best_step), None)
    return Manifest(entries, best)


def _best_step(checkpoint: Mapping[str, Any]) -> int | None:
    """Return the step of the best checkpoint so far, which the ``Checkpoints`` callback stores in every checkpoint."""
    callbacks = checkpoint.get("callbacks")
    states = list(callbacks.values()) if isinstance(callbacks, dict) else []
    steps = (state.get("best_step") for state in states if isinstance(state, dict))
    return next((step for step in steps if type(step) is int), None)


def is_intact(path: Path) -> bool:
    """Return whether a checkpoint can be read; if not, print why."""
    try:
        read_checkpoint(path)
    except InputError as error:
        notice(str(error))
        return False
    return True


def _newest_below(folder: Path) -> Path | None:
    """Return the newest run in the folder of an experiment or of all experiments; None without one."""
    found = [each for depth in ("*", "*/*") for each in folder.glob(f"{depth}/checkpoints/{FILE}")]
    newest = max(found, key=lambda each: each.stat().st_mtime, default=None)
    return None if newest is None else newest.parent.parent


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

    A checkpoint is verified first, and no code in it is run. Those of nanoGPT are converted.

    Raises:
        InputError: it is not a checkpoint of gpt-lightning or nanoGPT, is damaged, or holds objects other than plain
            values.
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
    if is_nanogpt(checkpoint):
        return convert_nanogpt(checkpoint, path)
    return check_structure(checkpoint, str(path))


def _folder_as_checkpoint(folder: Path) -> dict[str, Any]:
    return {"hyper_parameters": dict(_read_config(folder).hparams)}


def _read_config(folder: Path) -> huggingface.Pretrained:
    """Return the configuration of a model folder, and print its notes."""
    pretrained = huggingface.read_config(folder)
    for note in pretrained.notes:
        notice(note)
    return pretrained


def load_backbone(backbone: GPT, source: str, visited: tuple[Path, ...] = (), *, may_add_tokens: bool = False) -> None:
    """Load the backbone's weights from a checkpoint of any task, with adapters merged.

    Both sides of an encoder-decoder are filled with the weights of a model without an encoder.

    Args:
        backbone: backbone to fill. Its configuration must equal the saved one, except for the fields ``PER_TASK``.
        source: model, as for ``find_checkpoint``.
        visited: checkpoints with adapters that lead to ``source``, to detect cycles.
        may_add_tokens: whether the backbone may have more tokens than ``source``, whose rows become the mean of the
            others.

    Raises:
        InputError: there is no checkpoint, its backbone has another configuration, or the base model of its adapters
            is missing or differs.
    """
    path = find_checkpoint(source)
    folder = _read_config(path) if path.is_dir() else None
    checkpoint = read_checkpoint(path) if folder is None else {"hyper_parameters": folder.hparams}
    has_encoder = checkpoint["hyper_parameters"].get("backbone", {}).get("n_encoder_layer") is not None
    if has_encoder and not backbone.has_encoder:
        raise InputError(encoder_refusal(source))
    target = GPT(backbone.side_config()) if isinstance(backbone, EncoderDecoder) and not has_encoder else backbone
    with pretrained_vocabulary(target, _vocab_size(checkpoint) if may_add_tokens else None):
        if folder is None:
            _load_file(target, source, path, checkpoint, visited)
        else:
            huggingface.load_weights(target, folder)
    if target is not backbone:
        assert isinstance(backbone, EncoderDecoder)
        backbone.load_sides(target)


def _vocab_size(checkpoint: Mapping[str, Any]) -> int | None:
    """Return the number of rows of the embedding of a checkpoint."""
    size = checkpoint["hyper_parameters"].get("backbone", {}).get("vocab_size")
    return size if type(size) is int else None


def _load_file(
    backbone: GPT, source: str, path: Path, checkpoint: Mapping[str, Any], visited: tuple[Path, ...]
) -> None:
    """Load the backbone's weights from a checkpoint file; the arguments are those of ``load_backbone``."""
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
            merge_rows(backbone.token_embedding, "backbone.token_embedding", checkpoint["state_dict"])
        else:
            load_weights(backbone, "backbone.", path)
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"{path}: the adapters do not fit the backbone ({first_line(error)}). Use another checkpoint"
        ) from None


def encoder_refusal(source: str) -> str:
    """Return the error for an encoder-decoder where a model without an encoder is needed."""
    return (
        f"--model.init_from={source}: this is an encoder-decoder, whose weights do not fit a model without an encoder. "
        "Use --model=Seq2SeqLM, or start from another model"
    )


def _load_base(backbone: GPT, path: Path, checkpoint: Mapping[str, Any], visited: tuple[Path, ...]) -> None:
    """Load the weights of the base model that the adapters of a checkpoint were trained on."""
    init_from = checkpoint["hyper_parameters"].get("init_from")
    if path in visited:
        raise InputError(f"{path}: its model.init_from refers back to itself ({init_from}). Use another checkpoint")
    export = f"gpt-lightning export {path} DIR --init_from WHERE"
    with only_downloads():
        base = find_base(path, init_from, f"merge adapters and base by {export}, and start from DIR")
        load_backbone(backbone, base, (*visited, path), may_add_tokens=True)
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


class _LanguageModel(nn.Module):
    """Backbone and output layer of a language model in a folder."""

    huggingface_head = CAUSAL_LM

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.backbone = GPT(config)
        self.head = LMHead(config.n_embd, self.backbone.token_embedding.num_embeddings, config.logit_softcap)


def load_head(task: nn.Module, source: str) -> None:
    """Load the head from a checkpoint of the same task; of a language model with adapters, from its base model.

    Args:
        task: module with a ``backbone`` and a ``head`` of the same shape.
        source: model, as for ``find_checkpoint``.

    Raises:
        InputError: there is no checkpoint, or its head has another shape.
    """
    path = find_checkpoint(source)
    backbone, head = task.backbone, task.head
    assert isinstance(backbone, GPT)
    assert isinstance(head, nn.Linear)
    if path.is_dir():
        pretrained = _read_config(path)
        if isinstance(backbone, EncoderDecoder) and pretrained.config.n_encoder_layer is None:
            language_model = _LanguageModel(pretrained.config)
            huggingface.load_weights(language_model, pretrained)
            head.load_state_dict(language_model.head.state_dict())
            return
        with pretrained_vocabulary(backbone, pretrained.config.vocab_size, head):
            huggingface.load_weights(task, pretrained)
        return
    checkpoint = read_checkpoint(path)
    with pretrained_vocabulary(backbone, _vocab_size(checkpoint), head):
        if "head" in checkpoint.get("frozen_sha256", {}):
            with only_downloads():
                load_head(task, str(checkpoint["hyper_parameters"].get("init_from")))
            merge_rows(head, "head", checkpoint["state_dict"])
        else:
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
