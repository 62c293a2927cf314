"""Weights of eight bits, for generating on processors: a token costs reading all weights, and these are a quarter.

R rows, C channels in, N channels out.
"""

from typing import Final

import torch
from torch import Tensor, nn

from gpt_lightning.models.elementwise import swiglu
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.layers import MLP, Attention, SwiGLU
from gpt_lightning.models.linear_loss import LMHead, softcapped

_MOST: Final = 127.0
"""The largest eight-bit integer, of which there is a negative too."""
_FINER: Final = 254.0
"""So much finer is the grid of what a first rounding leaves: half a step of the first is the largest integer again."""
_LEAST: Final = 1e-30
"""Rows of zeros are divided by this."""


class Int8Linear(nn.Module):
    """A linear layer of eight-bit weights, a scale for each row; for inference on processors.

    What goes in is rounded to eight bits too, and what that leaves to eight more: as few channels are far larger than
    others, eight alone would lose them (Dettmers et al. 2022, arXiv:2208.07339). The product is one of integers, exact.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, weight_NC: Tensor, bias_N: Tensor | None) -> None:
        super().__init__()
        size_N = weight_NC.detach().abs().amax(1).clamp(min=_LEAST)
        self.register_buffer("weight", (weight_NC.detach() * (_MOST / size_N).unsqueeze(1)).round().to(torch.int8))
        self.register_buffer("scale", size_N / _MOST**2)
        self.bias = bias_N

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., N) float32."""
        x_RC = x.flatten(0, -2)
        size_R1 = x_RC.abs().amax(dim=-1, keepdim=True).clamp_(min=_LEAST)
        scaled_RC = torch.div(x_RC, size_R1).mul_(_MOST)
        halves_2RC = x_RC.new_empty(2, *x_RC.shape)
        torch.round(scaled_RC, out=halves_2RC[0])
        torch.sub(scaled_RC, halves_2RC[0], out=halves_2RC[1]).mul_(_FINER).round_()
        products = torch._int_mm(halves_2RC.flatten(0, 1).to(torch.int8), self.weight.mT)
        coarse_RN, fine_RN = products.to(x.dtype).view(2, len(x_RC), -1).unbind()
        y_RN = torch.add(coarse_RN, fine_RN, alpha=1.0 / _FINER).mul_(size_R1).mul_(self.scale)
        return (y_RN if self.bias is None else y_RN.add_(self.bias)).view(*x.shape[:-1], -1)


class Int8Head(Int8Linear):
    """``LMHead`` of eight-bit weights, for logits only."""

    def __init__(self, head: LMHead) -> None:
        super().__init__(head.weight, None)
        self.logit_softcap = head.logit_softcap

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) hidden states -> (..., V) logits."""
        return softcapped(super().forward(x), self.logit_softcap)


class _Int8SwiGLU(nn.Module):
    """``SwiGLU``, whose two inner layers round their input once."""

    def __init__(self, mlp: SwiGLU) -> None:
        super().__init__()
        biases = None if mlp.gate.bias is None else torch.cat((mlp.gate.bias, mlp.up.bias))
        self.gate_and_up = Int8Linear(torch.cat((mlp.gate.weight, mlp.up.weight)), biases)
        self.proj = _of(mlp.proj)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Transform each token alone: (B, T, C) -> (B, T, C)."""
        y_BTC: Tensor = self.proj(swiglu(*self.gate_and_up(x_BTC).chunk(2, dim=-1)))
        return y_BTC


def _of(layer: nn.Linear) -> Int8Linear:
    return Int8Linear(layer.weight, layer.bias)


def quantise(backbone: GPT) -> None:
    """Put eight-bit weights in place of the blocks' matrices; embeddings and norms stay as they are."""
    for block in backbone.blocks:
        for name, part in block.named_children():
            if isinstance(part, SwiGLU):
                setattr(block, name, _Int8SwiGLU(part))
            elif isinstance(part, Attention | MLP):
                for layer_name, layer in part.named_children():
                    if isinstance(layer, nn.Linear):
                        setattr(part, layer_name, _of(layer))
