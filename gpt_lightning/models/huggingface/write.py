"""Writing of model folders."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.closest_family import closest_family, config_json, why_not_huggingface
from gpt_lightning.models.huggingface.folder import CONFIG
from gpt_lightning.models.huggingface.heads import HuggingFaceHead
from gpt_lightning.models.huggingface.own_config import OWN_CONFIG, write_own_config
from gpt_lightning.models.huggingface.tensor_files import (
    INDEX_FILE,
    SINGLE_FILE,
    weight_files,
    write_json,
    write_tensors,
)
from gpt_lightning.models.huggingface.views import head_views, our_views


def save(
    folder: Path,
    module: nn.Module,
    hparams: Mapping[str, Any],
    *,
    head: HuggingFaceHead | None,
    pad_token_id: int | None = None,
    bos_token_id: int | None = None,
    eos_token_id: int | list[int] | None = None,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = 5_000_000_000,
) -> str | None:
    """Write a task as a model folder for gpt-lightning and, if possible, for Hugging Face's classes.

    The configuration is written last, so that an unfinished folder is not a model.

    Args:
        folder: path of the folder, which is created; it must not have a model yet.
        module: a task, with ``backbone`` and ``head``.
        hparams: hyper-parameters of the task, as in its checkpoints.
        head: the Hugging Face head that corresponds to the task; None if there is none.
        pad_token_id: a token that never ends a text. Hugging Face's classifiers pool the last token with another id.
        bos_token_id: the token that begins a text.
        eos_token_id: the token or tokens that end a text.
        dtype: dtype of the written weights; None keeps the dtype of each.
        max_shard_bytes: maximum size of a weight file. Larger models are written as several files with an index.

    Returns:
        The reason why Hugging Face's classes cannot read the folder, or None if they can.

    Raises:
        InputError: the folder has a model already, a token id is outside of the vocabulary, or ``pad_token_id`` is
            missing.
    """
    backbone, layer = module.backbone, module.head
    assert isinstance(backbone, GPT)
    assert isinstance(layer, nn.Module)
    config = backbone.config
    token_ids = {"pad_token_id": pad_token_id, "bos_token_id": bos_token_id, "eos_token_id": eos_token_id}
    reason = why_not_huggingface(config, head, hparams)
    written_head = head if reason is None else None
    _check_tokens(token_ids, config, written_head)
    paths = [folder / name for name in (CONFIG, OWN_CONFIG, SINGLE_FILE, INDEX_FILE)]
    if taken := [path for path in [*paths, *folder.glob("model-*.safetensors")] if path.exists()]:
        raise InputError(f"{taken[0]} already exists. Choose a new folder, or delete this one")
    folder.mkdir(parents=True, exist_ok=True)
    if written_head is not None:
        family = closest_family(config, written_head)
        views = family.tensors(backbone, family.prefix_of(written_head))
        views |= head_views(family.head_module(written_head), layer, backbone)
    else:
        views = our_views(backbone, layer)
    write_tensors(folder, views, dtype, max_shard_bytes)
    extra = module.state_dict().get("_extra_state")
    number = None if extra is None or not math.isfinite(extra) else float(extra)
    write_own_config(folder / OWN_CONFIG, {**hparams, "backbone": asdict(config)}, number, weight_files(folder))
    if written_head is not None:
        written = dtype or backbone.token_embedding.weight.dtype
        write_json(folder / CONFIG, config_json(config, written_head, hparams, written, token_ids))
    return reason


def _check_tokens(token_ids: Mapping[str, Any], config: GPTConfig, head: HuggingFaceHead | None) -> None:
    assert config.vocab_size is not None
    for name, value in token_ids.items():
        for number in value if isinstance(value, list) else [value]:
            if number is not None and not (type(number) is int and 0 <= number < config.vocab_size):
                raise InputError(
                    f"{name}={number} is not a token id. Set it to an id from 0 to {config.vocab_size - 1}"
                )
    if head is not None and head.needs_pad_token_id and token_ids["pad_token_id"] is None:
        raise InputError(
            f"{head.auto_class} needs a pad_token_id to find the last token of a text. "
            "Set pad_token_id to the id of a token that no text contains"
        )
