"""Construction of a task from the hyper-parameters and weights of a checkpoint."""

from collections.abc import Mapping
from typing import Any, TypeVar

from gpt_lightning.checkpoints.structure import check_kinds
from gpt_lightning.models.lora import LoRA, check_base, merge_adapters, weights_sha256
from gpt_lightning.models.new_tokens import is_of_new_rows, merge_rows
from gpt_lightning.tasks.base import Task
from gpt_lightning.tasks.plain_values import dataclass_of
from gpt_lightning.tasks.saving import accepted_arguments, argument_types

T = TypeVar("T", bound=Task)


def build_task(task_class: type[T], hyper_parameters: Mapping[str, Any]) -> T:
    """Build the task that hyper-parameters describe, with the weights of ``init_from`` or random weights."""
    accepted = accepted_arguments(task_class)
    # A constructor without an argument ``backbone`` may still need ``vocab_size``, which was saved in the backbone.
    values = {"vocab_size": hyper_parameters["backbone"]["vocab_size"]} if "backbone" not in accepted else {}
    given = {name: value for name, value in (values | dict(hyper_parameters)).items() if name in accepted}
    return task_class(**from_plain(task_class, given))


def from_plain(owner: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a class from plain values, with dataclasses in place of dicts."""
    types = argument_types(owner)
    return {
        name: kind(**value) if isinstance(value, dict) and (kind := dataclass_of(types.get(name))) else value
        for name, value in values.items()
    }


def restore_task(task_class: type[T], checkpoint: Mapping[str, Any]) -> T:
    """Build the task of a checkpoint with its weights, adapters merged.

    Raises:
        InputError: the base model of its adapters is missing, or differs from the one they were trained on.
    """
    hparams, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
    lora = LoRA.from_hparams(hparams)
    task = build_task(task_class, {name: value for name, value in hparams.items() if name != "lora"})
    if lora.r:
        saved = checkpoint.get("frozen_sha256", {})
        parts = {part: weights_sha256(task.get_submodule(part)) for part in {"backbone", *saved}}
        check_base(saved, parts, task.init_from, "--init_from")
        merge_adapters(task.backbone, state, lora)
        for layer in ("backbone.token_embedding", "head"):
            merge_rows(task.get_submodule(layer), layer, state)
        others = state.items()
        rest = {name: each for name, each in others if not (name.startswith("backbone.") or is_of_new_rows(name))}
        state = {**task.state_dict(), **rest}
    check_kinds(state, task, "the checkpoint")
    task.load_state_dict(state)
    return task
