"""Int8 quantization of weights for generation on CPUs.

R rows, C channels in, N channels out.
"""

from typing import Final

import torch
from torch import Tensor, nn

from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.layers import MLP, Attention, GatedMLP
from gpt_lightning.models.lm_head import LMHead, softcapped

_MOST: Final = 127.0
"""The largest eight-bit integer, of which there is a negative too."""
_LEAST: Final = 1e-30
"""Rows of zeros are divided by this."""


class Int8Linear(nn.Module):
    """A linear layer of eight-bit weights, a scale for each row; for inference on processors.

    What goes in is cut off after eight bits too, and what that leaves after eight more: where a few channels are far
    larger than all others, eight alone would lose the others (Dettmers et al. 2022, arXiv:2208.07339). The product is
    one of integers, and exact.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, weight_NC: Tensor, bias_N: Tensor | None) -> None:
        super().__init__()
        size_N = weight_NC.detach().abs().amax(1).clamp(min=_LEAST)
        self.register_buffer("weight", (weight_NC.detach() * (_MOST / size_N).unsqueeze(1)).round().to(torch.int8))
        self.register_buffer("scale", size_N / _MOST)
        self.bias = bias_N

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., N) float32."""
        x_RC = x.flatten(0, -2)
        step_R1 = x_RC.abs().amax(dim=-1, keepdim=True).clamp_(min=_LEAST).mul_(1.0 / _MOST)
        rest_RC = x_RC / step_R1
        halves_2RC = torch.empty(2, *x_RC.shape, dtype=torch.int8)
        halves_2RC[0].copy_(rest_RC)  # towards zero
        halves_2RC[1].copy_(rest_RC.frac_().mul_(_MOST))
        products_2RN = torch._int_mm(halves_2RC.flatten(0, 1), self.weight.mT).to(x.dtype).view(2, len(x_RC), -1)
        y_RN = products_2RN[0].add_(products_2RN[1], alpha=1.0 / _MOST).mul_(step_R1).mul_(self.scale)
        return (y_RN if self.bias is None else y_RN.add_(self.bias)).view(*x.shape[:-1], -1)


class Int8Head(Int8Linear):
    """``LMHead`` of eight-bit weights, for logits only."""

    def __init__(self, head: LMHead) -> None:
        super().__init__(head.weight, None)
        self.logit_softcap = head.logit_softcap

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) hidden states -> (..., V) logits."""
        return softcapped(super().forward(x), self.logit_softcap)


class Int8GatedMLP(nn.Module):
    """``GatedMLP``, whose two inner layers round their input once."""

    def __init__(self, mlp: GatedMLP) -> None:
        super().__init__()
        biases = None if mlp.gate.bias is None else torch.cat((mlp.gate.bias, mlp.up.bias))
        self.gate_and_up = Int8Linear(torch.cat((mlp.gate.weight, mlp.up.weight)), biases)
        self.proj = _of(mlp.proj)
        self.gating = mlp.gating

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Transform each token alone: (B, T, C) -> (B, T, C)."""
        y_BTC: Tensor = self.proj(self.gating(*self.gate_and_up(x_BTC).chunk(2, dim=-1)))
        return y_BTC


def _of(layer: nn.Linear) -> Int8Linear:
    return Int8Linear(layer.weight, layer.bias)


def quantize(backbone: GPT, head: nn.Module) -> Int8Head:
    """Put eight-bit weights in place of the blocks' matrices; embeddings and norms stay as they are.

    Returns:
        What takes the place of ``head``, an ``LMHead``.
    """
    assert isinstance(head, LMHead)
    for block in backbone.blocks:
        for name, part in block.named_children():
            if isinstance(part, GatedMLP):
                setattr(block, name, Int8GatedMLP(part))
            elif isinstance(part, Attention | MLP):
                for layer_name, layer in part.named_children():
                    if isinstance(layer, nn.Linear):
                        setattr(part, layer_name, _of(layer))
    return Int8Head(head)
