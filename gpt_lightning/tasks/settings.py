"""Constructor arguments that all tasks share, and combinations of settings that are refused."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypedDict

from lightning.pytorch.strategies import (
    DDPStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    SingleDeviceStrategy,
    Strategy,
)

from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig
from gpt_lightning.models.lora import LoRA
from gpt_lightning.optim import FineTuning, OptimizerConfig, Schedule


class TaskSettings(TypedDict, total=False):
    """Arguments of ``Task``'s constructor, which documents them, for the type checker."""

    backbone: GPTConfig
    vocab_size: int | None
    optimizer: OptimizerConfig
    schedule: Schedule
    init_from: str | None
    fine_tuning: FineTuning
    lora: LoRA


def check_adapters(init_from: str | None, fine_tuning: FineTuning) -> None:
    """Refuse adapters on a random backbone, and adapters together with frozen layers.

    Raises:
        InputError: the settings ask for one of these.
    """
    if init_from is None:
        raise InputError(
            "model.lora trains adapters on a frozen backbone, and this backbone would be random. "
            "Give --model.init_from, or leave model.lora.r at 0"
        )
    if fine_tuning.freeze != 0:
        raise InputError(
            f"model.fine_tuning.freeze={fine_tuning.freeze} and model.lora.r exclude each other: with adapters the "
            "whole backbone is frozen. Leave one of them out"
        )


def check_strategy(strategy: Strategy, optimizer: OptimizerConfig) -> None:
    """Refuse strategies that bypass ``configure_gradient_clipping``, where gradients become means.

    Raises:
        InputError: the strategy is one of these, or it shards matrices that Muon needs whole.
    """
    if not isinstance(strategy, SingleDeviceStrategy | DDPStrategy | FSDPStrategy | ModelParallelStrategy):
        raise InputError(
            f"trainer.strategy {type(strategy).__name__} is not supported: "
            "it would not weight gradients by tokens. Use ddp or fsdp"
        )
    if optimizer.kind == "muon" and isinstance(strategy, FSDPStrategy | ModelParallelStrategy):
        raise InputError(
            f"trainer.strategy {type(strategy).__name__} shards every matrix, but "
            "model.optimizer.kind=muon needs whole matrices. Use ddp, or kind=adamw"
        )


def why_not_resumed(hparams: Mapping[str, Any], optimizer: OptimizerConfig, fine_tuning: FineTuning) -> str | None:
    """Return why training cannot resume from a checkpoint, or None: its optimizer's state must fit.

    Args:
        hparams: the checkpoint's hyper-parameters.
        optimizer: the optimizer requested now.
        fine_tuning: the parameter groups requested now.
    """
    # Checkpoints without this field were written by AdamW, when there was no other optimizer.
    kind = hparams.get("optimizer", {}).get("kind", "adamw")
    if kind != optimizer.kind:
        return (
            f"the run has model.optimizer.kind={kind}, but you ask for {optimizer.kind}, which cannot use the saved "
            "optimizer state. Leave the option out to resume, or start a new run with --model.init_from"
        )
    saved, mine = hparams.get("fine_tuning", {}), asdict(fine_tuning)
    rates = [(each.get("layer_lr_decay", 1.0) != 1.0, each.get("head_lr") is not None) for each in (saved, mine)]
    if saved.get("freeze", 0) != mine["freeze"] or rates[0] != rates[1]:
        return (
            f"the run has model.fine_tuning {saved}, but you ask for {mine}. Frozen layers, and whether layers or the "
            "head have their own learning rates, cannot change on resume. Start a new run with --model.init_from"
        )
    return None
