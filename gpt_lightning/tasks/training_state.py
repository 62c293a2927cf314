"""Check of the training state in a checkpoint against the trainer that is to resume with it.

Lightning and torch copy most of this state unchecked, so that a wrong value would fail in a later step, or never.
"""

from collections.abc import Mapping
from typing import Any, Final

import lightning.pytorch as L
import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.optim.muon import Muon

_STATES: Final = ({"step", "exp_avg", "exp_avg_sq"}, {"momentum_buffer"})
"""Names of the state of a parameter in AdamW and in Muon."""


def check_training_state(checkpoint: Mapping[str, Any], trainer: L.Trainer, optimizer: torch.optim.Optimizer) -> None:
    """Check the progress of the loops, the state of the callbacks and that of the optimizer.

    Args:
        checkpoint: content of the checkpoint, whose fields have the right types.
        trainer: trainer that resumes.
        optimizer: new optimizer of the same kind and groups.

    Raises:
        InputError: the state is missing, or does not fit.
    """
    loops = checkpoint.get("loops", {}).get("fit_loop")
    if not _has_loops(loops, trainer.fit_loop.state_dict()):
        raise _misfit(trainer, "loops.fit_loop")
    # These micro-batches are repeated: they are subtracted from the progress. The last one counts as completed only
    # after the hooks in which a callback may save.
    if checkpoint.get("waiting_batches", 0) > loops["epoch_loop.batch_progress"]["current"]["processed"]:
        raise _misfit(trainer, "waiting_batches")
    states = checkpoint.get("callbacks", {})
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if callback.state_key in states and not _has_values(states[callback.state_key], callback.state_dict()):
            raise _misfit(trainer, f"callbacks.{callback.state_key}")
    if trainer.strategy.lightning_restore_optimizer:  # sharding strategies load the state themselves
        saved = checkpoint.get("optimizer_states", [])
        if len(saved) != 1 or not _has_states(saved[0], optimizer):
            raise _misfit(trainer, "optimizer_states")


def _misfit(trainer: L.Trainer, field: str) -> InputError:
    return InputError(
        f"{trainer.ckpt_path}: its field {field} is missing or does not fit this run. Use another checkpoint, or start "
        "a new run from its weights with --model.init_from"
    )


def _has_loops(saved: Any, template: Mapping[str, Any]) -> bool:
    """Return whether saved progress has the counters of the loops in ``template``."""
    if not isinstance(saved, dict):
        return False
    for key, expected in template.items():
        value = saved.get(key)
        if not key.endswith("state_dict"):
            if not _has_counters(value, expected):
                return False
        elif not isinstance(value, dict) or not all(
            _has_counters(value.get(name), expected[name]) for name in expected
        ):
            return False
    loaders = saved["state_dict"].get("combined_loader", [])
    return isinstance(loaders, list) and all(isinstance(each, dict) for each in loaders)


def _has_counters(saved: Any, template: Any) -> bool:
    if isinstance(template, dict):
        return (
            isinstance(saved, dict)
            and saved.keys() == template.keys()
            and all(_has_counters(saved[key], template[key]) for key in template)
        )
    if isinstance(template, bool):
        return isinstance(saved, bool)
    return not isinstance(template, int) or (type(saved) is int and 0 <= saved < 2**53)


def _has_values(saved: Any, template: Mapping[str, Any]) -> bool:
    """Return whether a callback's saved state has numbers and tensors where its current state has them."""
    return (
        isinstance(saved, dict)
        and bool(saved) == bool(template)
        and all(_has_value(saved[key], template[key]) for key in saved.keys() & template)
    )


def _has_value(saved: Any, template: Any) -> bool:
    is_number = isinstance(saved, int | float)
    if isinstance(template, Tensor):
        return is_number or (isinstance(saved, Tensor) and saved.shape == template.shape)
    return not isinstance(template, int | float) or is_number or (isinstance(saved, Tensor) and saved.numel() == 1)


def _has_states(saved: Any, optimizer: torch.optim.Optimizer) -> bool:
    """Return whether saved states fit the parameters of ``optimizer``, group by group."""
    if not isinstance(saved, dict) or not isinstance(saved.get("state"), dict):
        return False
    groups = saved.get("param_groups")
    if not isinstance(groups, list) or len(groups) != len(optimizer.param_groups):
        return False
    numbers: list[Any] = []
    for group, fresh in zip(groups, optimizer.param_groups, strict=True):
        params = group.get("params") if isinstance(group, dict) else None
        if not isinstance(params, list) or len(params) != len(fresh["params"]):
            return False
        numbers += params
    if not all(type(number) is int for number in numbers) or len(set(numbers)) != len(numbers):
        return False
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    by_number = dict(zip(numbers, parameters, strict=True))
    is_known = isinstance(optimizer, torch.optim.AdamW | Muon)
    return all(
        number in by_number and _has_state(state, by_number[number], is_known)
        for number, state in saved["state"].items()
    )


def _has_state(state: Any, parameter: Tensor, is_known: bool) -> bool:
    if not isinstance(state, dict) or (is_known and set(state) not in _STATES):
        return False
    tensors = [value for value in state.values() if isinstance(value, Tensor)]
    if is_known and len(tensors) != len(state):
        return False
    return all(
        value.is_floating_point() and value.shape == (torch.Size() if name == "step" else parameter.shape)
        for name, value in state.items()
        if is_known and isinstance(value, Tensor)
    )
