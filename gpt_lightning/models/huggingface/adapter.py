"""Adapters of ours as peft's own folder, beside a model that Hugging Face has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.export import why_not_huggingface
from gpt_lightning.models.huggingface.folder import Pretrained
from gpt_lightning.models.huggingface.names import FAMILIES, their_linears
from gpt_lightning.models.huggingface.tensor_files import write_file, write_json
from gpt_lightning.models.lora import ADAPTER_CONFIG, LoRA, factors, import_peft

WEIGHTS: Final = "adapter_model.safetensors"
_TASKS: Final = {
    "CausalLM": "CAUSAL_LM",
    "SequenceClassification": "SEQ_CLS",
    "TokenClassification": "TOKEN_CLS",
    "QuestionAnswering": "QUESTION_ANS",
}
_PREFIX: Final = "base_model.model."
"""What the names in peft's files begin with."""


def save_adapter(
    folder: Path,
    backbone: GPT,
    checkpoint: Mapping[str, Any],
    base: Pretrained,
    name_of_base: str,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the adapters of a checkpoint, and the head that was trained with them, as peft reads them.

    GPT-2's layers are ours, transposed, so its adapters are too. Where others have three layers for queries, keys and
    values we have one, whose B is cut into theirs; each of them has all of its A. Both are exact.

    Args:
        folder: it is there, and holds no adapters.
        backbone: plain, of the task's shape.
        checkpoint: as ``read_checkpoint`` gives it.
        base: the folder that the frozen weights are from.
        name_of_base: what users call that.
        dtype: what weights are written as.

    Raises:
        InputError: as ``check_adapter``.
    """
    hparams: Mapping[str, Any] = checkpoint["hyper_parameters"]
    state: Mapping[str, Tensor] = checkpoint["state_dict"]
    task = hparams["task"]
    check_adapter(folder, backbone.config, hparams, base)
    assert base.model_type is not None
    family, lora = FAMILIES[base.model_type], LoRA.of(hparams)
    head = None if task == "CausalLM" else family.head(task)
    adapters = _adapters(backbone, base.model_type, state, lora)
    tensors = {f"{_PREFIX}{family.task_prefix(task)}{name}.weight": value for name, value in adapters.items()}
    if head is not None:
        tensors |= {f"{_PREFIX}{head}.{name[5:]}": value for name, value in state.items() if name.startswith("head.")}
    settings = import_peft().LoraConfig(
        task_type=_TASKS[task],
        base_model_name_or_path=name_of_base,
        r=lora.r,
        lora_alpha=lora.effective_alpha,
        lora_dropout=lora.dropout,
        # The ends of names, without block and number.
        target_modules={name.split(".", 2)[2].removesuffix(".lora_A") for name in adapters if name.endswith("A")},
        modules_to_save=None if head is None else [head],
        fan_in_fan_out=base.model_type == "gpt2",
        inference_mode=True,
    )
    write_file(folder / WEIGHTS, tensors, tensors, dtype)
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in settings.to_dict().items()}
    write_json(folder / ADAPTER_CONFIG, plain)


def check_adapter(folder: Path, config: GPTConfig, hparams: Mapping[str, Any], base: Pretrained) -> None:
    """Whether ``save_adapter`` would write them: asked before there is a folder.

    Raises:
        InputError: Hugging Face has no such model, or would not find the base's weights in it; or the folder is taken.
    """
    task = hparams["task"]
    reason = why_not_huggingface(config, task, hparams.get("pooling", "last")) or _why_not_on(base, task)
    if reason is not None:
        raise InputError(f"these adapters are for gpt-lightning alone: {reason}; leave --adapter out to merge them")
    if taken := [path for path in (folder / ADAPTER_CONFIG, folder / WEIGHTS) if path.exists()]:
        raise InputError(f"{taken[0]}: there are adapters already; name another folder or delete it")


def _adapters(backbone: GPT, model_type: str, state: Mapping[str, Tensor], lora: LoRA) -> dict[str, Tensor]:
    """The factors of each adapter by the name of their layer, without the prefix of a head."""
    tensors: dict[str, Tensor] = {}
    config = backbone.config
    for name, layer in lora.layers(backbone):
        a, b = factors(state, name)
        theirs = their_linears(model_type, name)
        heads = (config.n_head, config.kv_heads, config.kv_heads)
        rows = [layer.out_features] if len(theirs) == 1 else [number * config.head_width for number in heads]
        for their_name, part in zip(theirs, torch.split(b, rows), strict=True):
            tensors |= {f"{their_name}.lora_A": a, f"{their_name}.lora_B": part}
    return tensors


def _why_not_on(base: Pretrained, task: Any) -> str | None:
    """Why their model for ``task`` would not have the weights of ``base``."""
    if base.model_type is None:
        return f"{base.folder} is no model of Hugging Face's"
    family = FAMILIES[base.model_type]
    if family.task_prefix(base.task) in ("", family.task_prefix(task)):
        return None
    return (
        f"{family.architecture(task)} does not find the backbone of a {family.architecture(base.task)} "
        f"(it looks for {family.task_prefix(task)}*, not {family.task_prefix(base.task)}*)"
    )
