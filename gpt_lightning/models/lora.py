"""LoRA adapters for a frozen backbone."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import torch
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.new_tokens import is_of_new_rows
from gpt_lightning.ranges import check_count

ADAPTER_CONFIG: Final = "adapter_config.json"
"""Configuration file in a folder of adapters in peft's format."""
_ATTENTION: Final = ("attention", "cross_attention")
_TARGETS: Final = {"attention": _ATTENTION, "mlp": ("mlp",), "all": (*_ATTENTION, "mlp")}
_FACTOR: Final = "backbone.{layer}.lora_{letter}.default.weight"
"""Name of a factor in the state of a task; peft calls the only adapter of a layer ``default``."""


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """LoRA: low-rank adapters for the linear layers of a frozen backbone (Hu et al. 2021, arXiv:2106.09685).

    A weight W becomes W + alpha / r * B A, and only A and B are trained. B starts at zero, so training starts from the
    frozen model.

    Attributes:
        r: rank of the adapters; 0 trains the backbone itself, without adapters. 8 or 16 is usual. A higher rank can
            learn more and takes more memory.
        alpha: scale of the adapters, which are multiplied by ``alpha / r``; null means ``2 * r``.
        dropout: dropout probability of the adapters' inputs. Raise it (0.05 to 0.1) if the model overfits.
        targets: linear layers with adapters: those of ``attention``, those of the ``mlp``, or ``all``.
    """

    r: int = 0
    alpha: int | None = None
    dropout: float = 0.0
    targets: Literal["attention", "mlp", "all"] = "all"

    def __post_init__(self) -> None:
        check_count("model.lora.r", self.r, least=0)
        if self.alpha is not None:
            check_count("model.lora.alpha", self.alpha)
        if not 0.0 <= self.dropout < 1.0:
            raise InputError(f"model.lora.dropout={self.dropout} must lie in [0, 1)")
        if self.targets not in _TARGETS:
            raise InputError(f"model.lora.targets={self.targets} must be one of {', '.join(_TARGETS)}")

    @classmethod
    def from_hparams(cls, hparams: Mapping[str, Any]) -> Self:
        """Return the settings among a task's hyper-parameters, or no adapters for checkpoints without such settings.

        Raises:
            TypeError: the settings have unknown names.
        """
        return cls(**hparams.get("lora", {}))

    @property
    def effective_alpha(self) -> int:
        """Scale of the adapters: ``alpha``, or its default."""
        return 2 * self.r if self.alpha is None else self.alpha

    def layers(self, backbone: GPT) -> Iterator[tuple[str, nn.Linear]]:
        """Yield the names and layers of a ``backbone`` without adapters that these settings give adapters to."""
        for name, module in backbone.named_modules():
            if isinstance(module, nn.Linear) and name.split(".")[-2] in _TARGETS[self.targets]:
                yield name, module


def add_adapters(backbone: GPT, lora: LoRA) -> None:
    """Freeze ``backbone`` and add adapters to its layers, in place.

    Raises:
        InputError: peft is not installed.
    """
    peft = import_peft()
    backbone.requires_grad_(False)
    config = peft.LoraConfig(
        r=lora.r,
        lora_alpha=lora.effective_alpha,
        lora_dropout=lora.dropout,
        target_modules=[name for name, _ in lora.layers(backbone)],
    )
    peft.inject_adapter_in_model(config, backbone)


def base_parameters(backbone: GPT) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters of a backbone without its adapters, under their names without adapters."""
    for name, parameter in backbone.named_parameters():
        if ".lora_" not in name:
            yield name.replace(".base_layer.", "."), parameter


def import_peft() -> Any:
    """Return the module ``peft``, which is an optional dependency.

    Raises:
        InputError: peft is not installed.
    """
    try:
        import peft
    except ImportError:
        raise InputError("adapters (model.lora) need peft. Install it: pip install 'gpt-lightning[lora]'") from None
    return peft


@torch.no_grad()
def merge_adapters(backbone: GPT, state: Mapping[str, Tensor], lora: LoRA) -> None:
    """Add the adapters of a checkpoint to the frozen weights that they were trained with, in place.

    The sum is computed in float64 and rounded once, so that it hardly depends on the machine.

    Args:
        backbone: the backbone with the frozen weights, without adapters.
        state: the ``state_dict`` of the task's checkpoint. Only its adapters are read.
        lora: the settings of the adapters.

    Raises:
        RuntimeError: the adapters do not fit the backbone and the settings. The backbone is unchanged.
    """
    layers = dict(lora.layers(backbone))
    for name, layer in layers.items():
        a, b = factors(state, name)
        if a.shape != (lora.r, layer.in_features) or b.shape != (layer.out_features, lora.r):
            raise RuntimeError(
                f"the adapter of {name} has factors of shape {list(a.shape)} and {list(b.shape)}; "
                f"with lora.r={lora.r} they must be {[lora.r, layer.in_features]} and {[layer.out_features, lora.r]}"
            )
    expected = {_FACTOR.format(layer=name, letter=letter) for name in layers for letter in "AB"}
    others = (name for name in state if name.startswith("backbone.") and not is_of_new_rows(name))
    if surplus := sorted(name for name in others if name not in expected):
        raise RuntimeError(f"{surplus[0]} is not an adapter of lora.targets={lora.targets}")
    for name, layer in layers.items():
        a, b = factors(state, name)
        layer.weight.copy_(layer.weight.double() + lora.effective_alpha / lora.r * (b.double() @ a.double()))


def factors(state: Mapping[str, Tensor], layer: str) -> tuple[Tensor, Tensor]:
    """Return the factors A (r, in) and B (out, r) of the adapter of a layer of the backbone.

    Raises:
        RuntimeError: the layer has no adapter in ``state``.
    """
    names = [_FACTOR.format(layer=layer, letter=letter) for letter in "AB"]
    if missing := [name for name in names if name not in state]:
        raise RuntimeError(f"{missing[0]} is missing in the checkpoint")
    return state[names[0]], state[names[1]]


def weights_sha256(module: nn.Module) -> str:
    """Return the SHA-256 hex digest of the names, dtypes, shapes and values of a module's parameters."""
    digest = hashlib.sha256()
    for name, parameter in sorted(module.named_parameters()):
        weight = parameter.detach().cpu().contiguous()
        digest.update(f"{name} {weight.dtype} {list(weight.shape)} ".encode())
        digest.update(weight.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_base(saved: object, parts: Mapping[str, str], init_from: str | None, flag: str) -> None:
    """Check that the frozen weights are those that the adapters were trained with.

    Args:
        saved: the sha256 of each frozen part of the model, as the checkpoint of the adapters has it.
        parts: the sha256 of each frozen part of the loaded model.
        init_from: where the frozen weights were loaded from.
        flag: the option that sets it, for the error.

    Raises:
        InputError: a sha256 differs.
    """
    expected = saved if isinstance(saved, dict) else {}
    for name, digest in parts.items():
        if expected.get(name) != digest:
            raise InputError(
                f"{init_from}: the adapters were trained with other weights: the sha256 of the {name} is "
                f"{digest[:12]}…, but the checkpoint has {str(expected.get(name))[:12]}…. "
                f"Give the model that the run started from with {flag}"
            )
