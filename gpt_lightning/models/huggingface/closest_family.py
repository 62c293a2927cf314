"""Choice of the model family for export, and its ``config.json``."""

from collections.abc import Mapping
from typing import Any

import torch

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families import FAMILIES
from gpt_lightning.models.huggingface.families.family import Family
from gpt_lightning.models.huggingface.heads import HuggingFaceHead


def closest_family(config: GPTConfig, head: HuggingFaceHead) -> Family:
    """Return the first family that can express the model, or the one with the fewest reasons against it."""
    families = [family for family in FAMILIES if family.heads[0].has_encoder == head.has_encoder]
    return min(families, key=lambda family: len(family.misfits(config, head)))


def why_not_huggingface(config: GPTConfig, head: HuggingFaceHead | None, hparams: Mapping[str, Any]) -> str | None:
    """Return the reason why Hugging Face's classes cannot express a model, or None if they can.

    Args:
        config: the configuration of the backbone.
        head: the Hugging Face head that corresponds to the task; None if there is none.
        hparams: the hyper-parameters of the task, as in its checkpoints.
    """
    if head is None:
        return "Hugging Face has no head for this task"
    if (reason := head.why_not(hparams)) is not None:
        return reason
    if (hparams.get("layout") or {}).get("copies", 1) > 1:
        return "its head reads each text twice (layout.copies=2), but Hugging Face's pipelines read it once"
    family = closest_family(config, head)
    misfits = family.misfits(config, head)
    return f"{family.title}, the closest model family, {' and '.join(misfits)}" if misfits else None


def config_json(
    config: GPTConfig,
    head: HuggingFaceHead,
    hparams: Mapping[str, Any],
    dtype: torch.dtype,
    token_ids: Mapping[str, int | list[int] | None],
) -> dict[str, Any]:
    """Return the ``config.json`` of a model that Hugging Face's classes can express.

    Args:
        config: the configuration of the backbone.
        head: the Hugging Face head that corresponds to the task.
        hparams: the hyper-parameters of the task, as in its checkpoints.
        dtype: dtype of the weights.
        token_ids: ``pad_token_id``, ``bos_token_id`` and ``eos_token_id``.
    """
    return {
        **closest_family(config, head).write(config, head),
        **head.write(hparams),
        **token_ids,
        "dtype": str(dtype).removeprefix("torch."),
    }
