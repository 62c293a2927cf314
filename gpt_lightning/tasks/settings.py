"""Settings that exclude each other, or what a run has been trained with, refused by name."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lightning.pytorch.strategies import (
    DDPStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    SingleDeviceStrategy,
    Strategy,
)

from gpt_lightning.errors import InputError
from gpt_lightning.optim import FineTuning, OptimizerConfig


def check_adapters(init_from: str | None, fine_tuning: FineTuning) -> None:
    """Refuse adapters beside weights that nobody has trained, or beside another way to freeze them.

    Raises:
        InputError: that is what the user asks for.
    """
    if init_from is None:
        raise InputError(
            "model.lora trains adapters beside a backbone that stays as it is, and this one would be random: "
            "give --model.init_from, or leave model.lora.r at 0"
        )
    if fine_tuning.freeze != 0:
        raise InputError(
            f"model.fine_tuning.freeze={fine_tuning.freeze} beside model.lora.r: with adapters the whole backbone is "
            "frozen already; leave one of them out"
        )


def check_strategy(strategy: Strategy, optimizer: OptimizerConfig) -> None:
    """Refuse strategies that step without ``configure_gradient_clipping``, where gradients become means.

    Raises:
        InputError: it is one, or it shares out matrices that Muon must see whole.
    """
    if not isinstance(strategy, SingleDeviceStrategy | DDPStrategy | FSDPStrategy | ModelParallelStrategy):
        raise InputError(
            f"trainer.strategy {type(strategy).__name__} is not supported: "
            "it would not weigh gradients by tokens; use ddp or fsdp"
        )
    if optimizer.kind == "muon" and isinstance(strategy, FSDPStrategy | ModelParallelStrategy):
        raise InputError(
            f"trainer.strategy {type(strategy).__name__} leaves each device a part of every matrix, but "
            "model.optimizer.kind=muon needs them whole; use ddp, or kind=adamw"
        )


def why_not_resumed(hparams: Mapping[str, Any], optimizer: OptimizerConfig, fine_tuning: FineTuning) -> str | None:
    """Why training cannot go on from a checkpoint: its optimizer's state is of another kind, or of other groups.

    Args:
        hparams: the checkpoint's hyper-parameters.
        optimizer: as it is asked for now.
        fine_tuning: as it is asked for now.
    """
    # A checkpoint older than the choice was written by AdamW.
    kind = hparams.get("optimizer", {}).get("kind", "adamw")
    if kind != optimizer.kind:
        return (
            f"the run has model.optimizer.kind={kind}, but you ask for {optimizer.kind}: one cannot go on with what "
            "the other remembers; leave it out to go on, or start with --model.init_from"
        )
    saved, mine = hparams.get("fine_tuning", {}), asdict(fine_tuning)
    rates = [(each.get("layer_lr_decay", 1.0) != 1.0, each.get("head_lr") is not None) for each in (saved, mine)]
    if saved.get("freeze", 0) != mine["freeze"] or rates[0] != rates[1]:
        return (
            f"the run has model.fine_tuning {saved}, but you ask for {mine}: what is frozen, and whether layers or "
            "the head learn at rates of their own, cannot change when a run goes on; start with --model.init_from"
        )
    return None
