"""Constructor arguments that all tasks share, and checks of unsupported combinations of settings."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, TypedDict

import lightning.pytorch as L
from lightning.pytorch.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    SingleDeviceStrategy,
    Strategy,
)

from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig
from gpt_lightning.models.lora import LoRA
from gpt_lightning.optim import FineTuning, OptimizerConfig, Schedule
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.unsupported_callbacks import why_unsupported


class TaskSettings(TypedDict, total=False):
    """Types of the arguments of ``Task``, for subclasses that pass them on. ``Task`` documents them."""

    backbone: GPTConfig
    vocab_size: int | None
    optimizer: OptimizerConfig
    schedule: Schedule
    init_from: str | None
    fine_tuning: FineTuning
    lora: LoRA
    layout: InputLayout


def check_adapters(init_from: str | None, fine_tuning: FineTuning) -> None:
    """Refuse adapters on a random backbone, and adapters combined with ``fine_tuning.freeze``.

    Raises:
        InputError: the settings contain one of these combinations.
    """
    if init_from is None:
        raise InputError(
            "model.lora.r trains adapters on a frozen backbone, but without model.init_from the backbone is random. "
            "Set model.init_from, or leave model.lora.r at 0"
        )
    if fine_tuning.freeze != 0:
        raise InputError(
            f"model.fine_tuning.freeze={fine_tuning.freeze} and model.lora.r cannot be combined, because adapters "
            "freeze the whole backbone. Leave out one of them"
        )


def check_callbacks(callbacks: Iterable[L.Callback]) -> None:
    """Refuse callbacks of Lightning that would train wrongly, and subclasses of them.

    Raises:
        InputError: a callback is unsupported.
    """
    for callback in callbacks:
        for cls in type(callback).__mro__:
            if (reason := why_unsupported(f"{cls.__module__}.{cls.__qualname__}")) is not None:
                raise InputError(reason)


def check_strategy(strategy: Strategy, optimizer: OptimizerConfig) -> None:
    """Refuse strategies that bypass ``configure_gradient_clipping``, where gradients are divided by the label count.

    Raises:
        InputError: the strategy bypasses it, or shards matrices that Muon needs unsharded.
    """
    is_supported = isinstance(strategy, SingleDeviceStrategy | DDPStrategy | FSDPStrategy | ModelParallelStrategy)
    if not is_supported or isinstance(strategy, DeepSpeedStrategy):  # which is a DDPStrategy
        raise InputError(
            f"trainer.strategy {type(strategy).__name__} is not supported: "
            "it would not average gradients over labels. Use ddp or fsdp"
        )
    if optimizer.kind == "muon" and isinstance(strategy, FSDPStrategy | ModelParallelStrategy):
        raise InputError(
            f"trainer.strategy {type(strategy).__name__} shards every matrix, but "
            "model.optimizer.kind=muon needs unsharded matrices. Use ddp, or model.optimizer.kind=adamw"
        )


def why_not_resumed(hparams: Mapping[str, Any], optimizer: OptimizerConfig, fine_tuning: FineTuning) -> str | None:
    """Return the reason why the saved optimizer state does not fit the current settings, or None if it does.

    Args:
        hparams: hyper-parameters of the checkpoint.
        optimizer: current optimizer settings.
        fine_tuning: current fine-tuning settings, which determine the parameter groups.
    """
    # Checkpoints without this field are older than the other optimizers, so AdamW wrote them.
    kind = hparams.get("optimizer", {}).get("kind", "adamw")
    if kind != optimizer.kind:
        return (
            f"the run was trained with model.optimizer.kind={kind}, so {optimizer.kind} cannot use its optimizer "
            "state. Leave out the option to resume, or start a new run with --model.init_from"
        )
    saved, current = hparams.get("fine_tuning", {}), asdict(fine_tuning)
    rates = [(each.get("layer_lr_decay", 1.0) != 1.0, each.get("head_lr") is not None) for each in (saved, current)]
    if saved.get("freeze", 0) != current["freeze"] or rates[0] != rates[1]:
        return (
            f"the run was trained with model.fine_tuning={saved}, but now it is {current}. Resuming cannot change "
            "which layers are frozen, or which have a learning rate of their own. Restore these settings, or start a "
            "new run with --model.init_from"
        )
    return None
