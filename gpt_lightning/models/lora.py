"""LoRA adapters on a frozen backbone, and merging them."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import torch
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.models.gpt import GPT

ADAPTER_CONFIG: Final = "adapter_config.json"
"""What peft's folders have."""
_PARTS: Final = {"attention": ("attention",), "mlp": ("mlp",), "all": ("attention", "mlp")}
_FACTOR: Final = "backbone.{layer}.lora_{letter}.default.weight"
"""What a task calls the factors of a layer's adapter; peft's own name for the adapter is ``default``."""


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """Adapters of low rank beside the linear layers of a frozen backbone (Hu et al. 2021, arXiv:2106.09685).

    A layer W becomes W + alpha / r * B A, and only A and B learn. B starts at 0: nothing has changed yet.

    Attributes:
        r: the rank; 0 trains the backbone itself, without adapters.
        alpha: how much an adapter counts, as a multiple of 1 / r; None is 2 r.
        dropout: on what an adapter reads.
        targets: which linear layers have one: those of ``attention``, those of the ``mlp``, or ``all``.
    """

    r: int = 0
    alpha: int | None = None
    dropout: float = 0.0
    targets: Literal["attention", "mlp", "all"] = "all"

    def __post_init__(self) -> None:
        if self.r < 0:
            raise InputError(f"model.lora.r={self.r} must be 0 (no adapters) or more")
        if self.alpha is not None and self.alpha < 1:
            raise InputError(f"model.lora.alpha={self.alpha} must be at least 1")
        if not 0.0 <= self.dropout < 1.0:
            raise InputError(f"model.lora.dropout={self.dropout} must lie in [0, 1)")
        if self.targets not in _PARTS:
            raise InputError(f"model.lora.targets={self.targets} must be one of {', '.join(_PARTS)}")

    @classmethod
    def of(cls, hparams: Mapping[str, Any]) -> Self:
        """The settings among a task's hyper-parameters; those of a checkpoint from before there were any are off.

        Raises:
            TypeError: they are not these.
        """
        return cls(**hparams.get("lora", {}))

    @property
    def effective_alpha(self) -> int:
        """``alpha``, with None filled in."""
        return 2 * self.r if self.alpha is None else self.alpha

    def layers(self, backbone: GPT) -> Iterator[tuple[str, nn.Linear]]:
        """The layers of a plain ``backbone`` that have an adapter, and their names."""
        for name, module in backbone.named_modules():
            if isinstance(module, nn.Linear) and name.split(".")[2] in _PARTS[self.targets]:
                yield name, module


def add_adapters(backbone: GPT, lora: LoRA) -> None:
    """Freeze ``backbone`` and put adapters beside its layers, in place.

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


def plain_parameters(backbone: GPT) -> Iterator[tuple[str, nn.Parameter]]:
    """The weights of a backbone without those of its adapters, by the names that they have where there are none."""
    for name, parameter in backbone.named_parameters():
        if ".lora_" not in name:
            yield name.replace(".base_layer.", "."), parameter


def import_peft() -> Any:
    """The library, which nothing else here needs.

    Raises:
        InputError: it is not installed.
    """
    try:
        import peft
    except ImportError:
        raise InputError("adapters (model.lora) need peft: pip install 'gpt-lightning[lora]'") from None
    return peft


@torch.no_grad()
def merge_adapters(backbone: GPT, state: Mapping[str, Tensor], lora: LoRA) -> None:
    """Add the adapters of a checkpoint to the weights that they were trained beside, in place.

    In float64, rounded once: what comes out is the same wherever it is computed, as far as that goes.

    Args:
        backbone: plain, with those weights.
        state: a checkpoint's ``state_dict``, of which the rest of the task is passed over.
        lora: the adapters' settings.

    Raises:
        RuntimeError: they are not the adapters of these layers; then none of them is merged.
    """
    layers = dict(lora.layers(backbone))
    for name, layer in layers.items():
        a, b = factors(state, name)
        if a.shape != (lora.r, layer.in_features) or b.shape != (layer.out_features, lora.r):
            raise RuntimeError(
                f"the adapter of {name} has factors of shape {list(a.shape)} and {list(b.shape)}; "
                f"with lora.r={lora.r} they are {[lora.r, layer.in_features]} and {[layer.out_features, lora.r]}"
            )
    expected = {_FACTOR.format(layer=name, letter=letter) for name in layers for letter in "AB"}
    if surplus := sorted(name for name in state if name.startswith("backbone.") and name not in expected):
        raise RuntimeError(f"{surplus[0]} is no adapter of lora.targets={lora.targets}")
    for name, layer in layers.items():
        a, b = factors(state, name)
        layer.weight.copy_(layer.weight.double() + lora.effective_alpha / lora.r * (b.double() @ a.double()))


def factors(state: Mapping[str, Tensor], layer: str) -> tuple[Tensor, Tensor]:
    """A (r, in) and B (out, r) of the adapter of a layer of the backbone.

    Raises:
        RuntimeError: there is none.
    """
    names = [_FACTOR.format(layer=layer, letter=letter) for letter in "AB"]
    if missing := [name for name in names if name not in state]:
        raise RuntimeError(f"{missing[0]} is missing")
    return state[names[0]], state[names[1]]


def weights_sha256(module: nn.Module) -> str:
    """Of the weights of a module, by name, whatever file they came from."""
    digest = hashlib.sha256()
    for name, parameter in sorted(module.named_parameters()):
        weight = parameter.detach().cpu().contiguous()
        digest.update(f"{name} {weight.dtype} {list(weight.shape)} ".encode())
        digest.update(weight.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_base(saved: object, parts: Mapping[str, str], init_from: str | None, flag: str) -> None:
    """Compare frozen weights with those that adapters were trained beside.

    Args:
        saved: what their checkpoint says: the sha256 of each part of the model that is not in it.
        parts: what the parts at hand have.
        init_from: where these are from.
        flag: the option that names another place.

    Raises:
        InputError: they differ.
    """
    said = saved if isinstance(saved, dict) else {}
    for name, digest in parts.items():
        if said.get(name) != digest:
            raise InputError(
                f"{init_from}: these are not the weights that the adapters were trained beside: the sha256 of the "
                f"{name} is {digest[:12]}…, the checkpoint has {str(said.get(name))[:12]}…; "
                f"give the model that the run started from with {flag}"
            )
