"""Check of a checkpoint's fields, so that a file of unknown origin is refused before anything is built from it."""

import re
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.models.lora import LoRA
from gpt_lightning.models.plain_config import backbone_config, min_num_weights

_FIELDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "averaging_state": dict,
    "callbacks": dict,
    "current_model_state": dict,
    "data": str,
    "epoch": int,
    "frozen_sha256": dict,
    "global_step": int,
    "hyper_parameters": dict,
    "identity": dict,
    "labels_seen": (int, float),
    "loops": dict,
    "monitored": dict,
    "lr_schedulers": list,
    "optimizer_states": list,
    "pytorch-lightning_version": str,
    "skipped_steps": int,
    "state_dict": dict,
    "tokenizer": str,
    "waiting_batches": int,
}
"""Field -> its type. A checkpoint may lack some and have others, such as the state of a user's data module."""
_VERSION: Final = re.compile(r"2\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]{0,50}")
"""Version of Lightning. Its migrations of checkpoints from before version 2 expect fields that they do not check."""
_REMEDY: Final = "Use another checkpoint"
_MAX_DEPTH: Final = 50
_MAX_VALUES: Final = 2_000_000
_SCALARS: Final = (bool, float, str, bytes, torch.dtype, torch.Size)


def check_structure(checkpoint: Any, name: str) -> dict[str, Any]:
    """Return the content of a checkpoint file after checking the types of its fields and values.

    Args:
        checkpoint: content that torch has read, without objects of unusual classes.
        name: path of the file, for errors.

    Raises:
        InputError: a field has another type, or the hyper-parameters describe far more weights than there are.
    """
    if not isinstance(checkpoint, dict) or not {"hyper_parameters", "state_dict"} <= checkpoint.keys():
        raise InputError(
            f"{name}: this torch file is not a checkpoint of gpt-lightning or nanoGPT. Give one of these or a Hugging "
            "Face model folder"
        )
    _check_values(checkpoint, name)
    for field, kind in _FIELDS.items():
        value = checkpoint.get(field)
        if field in checkpoint and (not isinstance(value, kind) or isinstance(value, bool)):
            raise _invalid_field(name, field, value)
        if isinstance(value, int | float) and not 0 <= value < 2**63:
            raise _invalid_field(name, field, value)
    version = checkpoint.get("pytorch-lightning_version", "2.0.0")
    if not _VERSION.fullmatch(version):
        raise _invalid_field(name, "pytorch-lightning_version", version)
    for key, value in checkpoint["state_dict"].items():
        if not isinstance(key, str) or not (isinstance(value, Tensor) or key.endswith("_extra_state")):
            raise _invalid_field(name, f"state_dict[{str(key)[:50]!r}]", value)
    _check_size(checkpoint, name)
    return dict(checkpoint)


def check_kinds(saved: Mapping[str, Any], module: nn.Module, name: str) -> None:
    """Check that saved weights are floating-point where the weights of ``module`` are, as torch converts silently.

    Raises:
        InputError: a tensor of integers is in the place of weights.
    """
    for key, value in module.state_dict().items():
        other = saved.get(key)
        if (
            isinstance(other, Tensor)
            and isinstance(value, Tensor)
            and other.is_floating_point() != (value.is_floating_point())
        ):
            raise InputError(f"{name}: {key} has dtype {other.dtype} instead of {value.dtype}. {_REMEDY}")


def _check_values(checkpoint: dict[Any, Any], name: str) -> None:
    """Check that all values are plain or dense tensors, and that they are neither too many nor nested too deeply."""
    pending: list[tuple[Any, int, str]] = [(checkpoint, 0, "")]
    count = 0
    while pending:
        value, depth, field = pending.pop()
        count += 1
        if depth > _MAX_DEPTH or count + len(pending) > _MAX_VALUES:
            raise InputError(f"{name}: its field {field!r} has too many values, or they nest too deeply. {_REMEDY}")
        if isinstance(value, dict):
            if not all(type(key) in (str, int, float, bool, tuple, type(None)) for key in value):
                raise _invalid_field(name, field, value)
            pending += [(item, depth + 1, field or str(key)[:50]) for key, item in value.items()]
        elif isinstance(value, list | tuple | set) and not isinstance(value, torch.Size):
            pending += [(item, depth + 1, field) for item in value]
        elif not _is_plain(value):
            raise _invalid_field(name, field, value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Tensor):
        return (
            type(value) in (Tensor, nn.Parameter)
            and value.layout == torch.strided
            and value.device.type == "cpu"
            and not (value.is_quantized or value.is_complex())
            # A tensor with strides of 0 would take far more memory when it is copied.
            and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
        )
    if type(value) is int:
        return value.bit_length() <= 64
    return value is None or isinstance(value, _SCALARS)


def _check_size(checkpoint: Mapping[str, Any], name: str) -> None:
    """Check that the weights are there which the hyper-parameters describe, before memory is allocated for them."""
    hparams, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
    config = backbone_config(hparams.get("backbone"), f"{name}: hyper_parameters.backbone", _REMEDY)
    try:
        rank = LoRA.from_hparams(hparams).r
    except (InputError, TypeError) as error:
        raise InputError(f"{name}: damaged: its settings of the adapters: {error}. {_REMEDY}") from None
    # Adapters come without the weights of their base model, whose shape is compared when it is loaded.
    if "backbone" in checkpoint.get("frozen_sha256", {}) or rank > 0:
        num_described = rank * config.n_layer * config.n_embd
    else:
        num_described = min_num_weights(config)
    num_stored = sum(value.numel() for value in state.values() if isinstance(value, Tensor))
    # Smaller differences are found later, when missing tensors are named.
    if num_described > 4 * num_stored:
        raise InputError(
            f"{name}: its hyper-parameters describe more than {num_described:,} weights, but it has {num_stored:,}. "
            f"{_REMEDY}"
        )


def _invalid_field(name: str, field: str, value: Any) -> InputError:
    shown = f"= {repr(value)[:50]}" if isinstance(value, int | float | str) else f"of type {type(value).__name__}"
    return InputError(f"{name}: damaged or not a checkpoint: its field {field} {shown} is invalid. {_REMEDY}")
