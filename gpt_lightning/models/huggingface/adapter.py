"""LoRA adapters in peft's format, for a Hugging Face base model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.closest_family import why_not_huggingface
from gpt_lightning.models.huggingface.families.family import Family, qkv_widths
from gpt_lightning.models.huggingface.folder import Pretrained
from gpt_lightning.models.huggingface.heads import HuggingFaceHead
from gpt_lightning.models.huggingface.tensor_files import Parts, write_file, write_json
from gpt_lightning.models.lora import ADAPTER_CONFIG, LoRA, factors, import_peft

WEIGHTS: Final = "adapter_model.safetensors"
_PREFIX: Final = "base_model.model."
"""Prefix of the names in peft's files."""


def save_adapter(
    folder: Path,
    backbone: GPT,
    checkpoint: Mapping[str, Any],
    head: HuggingFaceHead | None,
    base: Pretrained,
    name_of_base: str,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the adapters of a checkpoint, and the head that was trained with them, in peft's format.

    If a family splits one of our layers, each of its layers gets A and a part of B. If it fuses several of our layers,
    its layer gets one adapter of a higher rank. Both conversions are exact.

    Args:
        folder: an existing folder without adapters.
        backbone: a backbone of the same configuration, without adapters.
        checkpoint: the checkpoint, as ``read_checkpoint`` returns it.
        head: the Hugging Face head that corresponds to the task; None if there is none.
        base: the model folder of the frozen weights.
        name_of_base: name of the base model, for peft's configuration file.
        dtype: dtype of the written weights.

    Raises:
        InputError: see ``check_adapter``.
    """
    hparams: Mapping[str, Any] = checkpoint["hyper_parameters"]
    state: Mapping[str, Tensor] = checkpoint["state_dict"]
    check_adapter(folder, backbone.config, head, hparams, base)
    assert base.family is not None
    assert head is not None
    family, lora = base.family, LoRA.from_hparams(hparams)
    adapters = _adapters(backbone, family, state, lora)
    prefix = f"{_PREFIX}{family.prefix_of(head)}"
    tensors: dict[str, Parts] = {}
    for name, (a, b) in adapters.items():
        tensors |= {f"{prefix}{name}.lora_A.weight": (a,), f"{prefix}{name}.lora_B.weight": (b,)}
    trained_head = {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}
    head_module = family.head_module(head)
    tensors |= {f"{_PREFIX}{head_module}.{name}": (value,) for name, value in trained_head.items()}
    # peft's settings name layers without the prefix of their block.
    ranks = {name.split(".", 2)[2]: len(a) for name, (a, _) in adapters.items()}
    higher = {name: rank for name, rank in ranks.items() if rank != lora.r}
    settings = import_peft().LoraConfig(
        task_type=head.peft_task_type,
        base_model_name_or_path=name_of_base,
        r=lora.r,
        lora_alpha=lora.effective_alpha,
        rank_pattern=higher,
        alpha_pattern={name: lora.effective_alpha * rank // lora.r for name, rank in higher.items()},
        lora_dropout=lora.dropout,
        target_modules=set(ranks),
        modules_to_save=[head_module] if trained_head else None,
        fan_in_fan_out=family.transposes_linears,
        inference_mode=True,
    )
    write_file(folder / WEIGHTS, tensors, tensors, dtype)
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in settings.to_dict().items()}
    write_json(folder / ADAPTER_CONFIG, plain)


def check_adapter(
    folder: Path, config: GPTConfig, head: HuggingFaceHead | None, hparams: Mapping[str, Any], base: Pretrained
) -> None:
    """Check that ``save_adapter`` can write the adapters, before the folder is created.

    Raises:
        InputError: Hugging Face's classes cannot express the model or load the base's weights, or the folder has
            adapters already.
    """
    reason = why_not_huggingface(config, head, hparams) or (head and _why_not_on(base, head))
    if reason is not None:
        raise InputError(
            f"peft cannot load these adapters: {reason}. Leave out --adapter to export the model with merged adapters"
        )
    if taken := [path for path in (folder / ADAPTER_CONFIG, folder / WEIGHTS) if path.exists()]:
        raise InputError(f"{taken[0]} already exists. Choose a new folder, or delete this one")


def _adapters(
    backbone: GPT, family: Family, state: Mapping[str, Tensor], lora: LoRA
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return A and B of each adapter under the name of the family's layer, without the head's prefix."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, _ in lora.layers(backbone):
        a, b = factors(state, name)
        layers = family.layers(name)
        widths = qkv_widths(backbone.config)[-len(layers) :]
        parts = (b,) if len(layers) == 1 else torch.split(b, widths)
        for layer, part in zip(layers, parts, strict=True):
            found.setdefault(layer, []).append((a, part))
    # The adapter of fused layers stacks their A, and has their B as diagonal blocks.
    return {
        layer: (torch.cat([a for a, _ in pairs]), torch.block_diag(*(b for _, b in pairs)))  # type: ignore[no-untyped-call]
        for layer, pairs in found.items()
    }


def _why_not_on(base: Pretrained, head: HuggingFaceHead) -> str | None:
    """Return the reason why the class with ``head`` cannot load the weights of ``base``, or None if it can."""
    family = base.family
    if family is None:
        return f"{base.folder} is not a Hugging Face model"
    if head not in family.heads:
        return f"Hugging Face has no {family.architecture(head)}"
    if family.prefix_of(base.head) in ("", family.prefix_of(head)):
        return None
    return (
        f"{family.architecture(head)} does not find the backbone of a {family.architecture(base.head)} "
        f"(it looks for {family.prefix_of(head)}*, not {family.prefix_of(base.head)}*)"
    )
