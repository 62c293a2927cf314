"""Write a task as a model folder."""

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
from gpt_lightning.models.huggingface.export import config_json, model_type_of, why_not_huggingface
from gpt_lightning.models.huggingface.folder import CONFIG
from gpt_lightning.models.huggingface.names import FAMILIES, head_views, our_views, their_views
from gpt_lightning.models.huggingface.own import OWN, write_own
from gpt_lightning.models.huggingface.tensor_files import INDEX, SINGLE, weight_files, write_json, write_tensors


def save(
    folder: Path,
    module: nn.Module,
    hparams: Mapping[str, Any],
    *,
    pad_token_id: int | None = None,
    bos_token_id: int | None = None,
    eos_token_id: int | None = None,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = 5_000_000_000,
) -> str | None:
    """Write a task so that Hugging Face's classes and we can read it; where they have no such model, we alone.

    A folder that was not finished has no configuration, so that nobody takes it for a model.

    Args:
        folder: created if need be; it must not hold a model yet.
        module: a task, with ``backbone`` and ``head``.
        hparams: the task's own, as its checkpoints hold them.
        pad_token_id: an id that no text ends with: their classifier takes the last other one for the text's last.
        bos_token_id: what begins a text.
        eos_token_id: what ends it.
        dtype: what weights are written as; None leaves them as they are.
        max_shard_bytes: more are written as several files and an index.

    Returns:
        Why Hugging Face has no such model, or None where it has.

    Raises:
        InputError: the folder holds a model, or a token's id is none of the vocabulary's, or missing.
    """
    backbone, head = module.backbone, module.head
    assert isinstance(backbone, GPT)
    assert isinstance(head, nn.Module)
    config, task = backbone.config, hparams["task"]
    token_ids = {"pad_token_id": pad_token_id, "bos_token_id": bos_token_id, "eos_token_id": eos_token_id}
    reason = why_not_huggingface(config, task, hparams.get("pooling", "last"))
    _check_tokens(token_ids, config, needs_padding=reason is None and task == "SequenceClassification")
    there = [folder / name for name in (CONFIG, OWN, SINGLE, INDEX)]
    if taken := [path for path in [*there, *folder.glob("model-*.safetensors")] if path.exists()]:
        raise InputError(f"{taken[0]}: there is a model already; name another folder or delete it")
    folder.mkdir(parents=True, exist_ok=True)
    if reason is None:
        family = FAMILIES[model_type_of(config)]
        views = their_views(model_type_of(config), backbone, family.task_prefix(task))
        views |= head_views(family.head(task), head, backbone)
    else:
        views = our_views(backbone, head)
    write_tensors(folder, views, dtype, max_shard_bytes)
    extra = module.state_dict().get("_extra_state")
    number = None if extra is None or not math.isfinite(extra) else float(extra)
    write_own(folder / OWN, {**hparams, "backbone": asdict(config)}, number, weight_files(folder))
    if reason is None:
        written = dtype or backbone.token_embedding.weight.dtype
        write_json(folder / CONFIG, config_json(config, hparams, written, token_ids))
    return reason


def _check_tokens(token_ids: Mapping[str, int | None], config: GPTConfig, *, needs_padding: bool) -> None:
    assert config.vocab_size is not None
    for name, number in token_ids.items():
        if number is not None and not 0 <= number < config.vocab_size:
            raise InputError(f"{name}={number} is none of the vocabulary's {config.vocab_size} ids")
    if needs_padding and token_ids["pad_token_id"] is None:
        raise InputError("a SequenceClassification needs a pad_token_id: Hugging Face finds the last token by it")
