"""Int8 quantization of weights for generation on CPUs.

R rows, C channels in, N channels out.
"""

from typing import Final

import torch
from torch import Tensor, nn

from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.layers import MLP, Attention, Block, CrossAttention, GatedMLP
from gpt_lightning.models.lm_head import LMHead, softcap

_INT8_MAX: Final = 127.0
_MIN_SCALE: Final = 1e-30
"""Lower bound of scales, so that rows of zeros are not divided by zero."""


class Int8Linear(nn.Module):
    """Linear layer with int8 weights and one scale per output channel, for inference on CPUs.

    The input is split into two int8 parts, the quantized values and their remainder. A single int8 value would lose
    most channels if a few outliers are far larger (Dettmers et al. 2022, arXiv:2208.07339). The integer product is
    exact.

    Args:
        weight_NC: the weight to quantize.
        bias_N: the bias, which stays unquantized, or None.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, weight_NC: Tensor, bias_N: Tensor | None) -> None:
        super().__init__()
        max_N = weight_NC.detach().abs().amax(1).clamp(min=_MIN_SCALE)
        self.register_buffer("weight", (weight_NC.detach() * (_INT8_MAX / max_N).unsqueeze(1)).round().to(torch.int8))
        self.register_buffer("scale", max_N / _INT8_MAX)
        self.bias = bias_N

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer: (..., C) -> (..., N) float32."""
        x_RC = x.flatten(0, -2)
        step_R1 = x_RC.abs().amax(dim=-1, keepdim=True).clamp_(min=_MIN_SCALE).mul_(1.0 / _INT8_MAX)
        scaled_RC = x_RC / step_R1
        parts_2RC = torch.empty(2, *x_RC.shape, dtype=torch.int8)
        parts_2RC[0].copy_(scaled_RC)  # rounds towards zero
        parts_2RC[1].copy_(scaled_RC.frac_().mul_(_INT8_MAX))
        products_2RN = torch._int_mm(parts_2RC.flatten(0, 1), self.weight.mT).to(x.dtype).view(2, len(x_RC), -1)
        y_RN = products_2RN[0].add_(products_2RN[1], alpha=1.0 / _INT8_MAX).mul_(step_R1).mul_(self.scale)
        return (y_RN if self.bias is None else y_RN.add_(self.bias)).view(*x.shape[:-1], -1)


class Int8Head(Int8Linear):
    """``LMHead`` with int8 weights, for logits only."""

    def __init__(self, head: LMHead) -> None:
        super().__init__(head.weight, None)
        self.logit_softcap = head.logit_softcap

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of hidden states: (..., C) -> (..., V)."""
        return softcap(super().forward(x), self.logit_softcap)


class Int8GatedMLP(nn.Module):
    """``GatedMLP`` with int8 weights; gate and up projection share one layer, which quantizes the input once."""

    def __init__(self, mlp: GatedMLP) -> None:
        super().__init__()
        biases = None if mlp.gate.bias is None else torch.cat((mlp.gate.bias, mlp.up.bias))
        self.gate_and_up = Int8Linear(torch.cat((mlp.gate.weight, mlp.up.weight)), biases)
        self.proj = _quantize_linear(mlp.proj)
        self.gating = mlp.gating

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Apply the network to each token: (B, T, C) -> (B, T, C)."""
        y_BTC: Tensor = self.proj(self.gating(*self.gate_and_up(x_BTC).chunk(2, dim=-1)))
        return y_BTC


def _quantize_linear(layer: nn.Linear) -> Int8Linear:
    return Int8Linear(layer.weight, layer.bias)


def quantize(backbone: GPT, head: nn.Module) -> Int8Head:
    """Quantize the linear layers of all blocks to int8, in place; embeddings and norms are unchanged.

    Args:
        backbone: the backbone.
        head: an ``LMHead``, which is not modified.

    Returns:
        The quantized head.
    """
    assert isinstance(head, LMHead)
    for block in [part for part in backbone.modules() if isinstance(part, Block)]:
        for name, part in block.named_children():
            if isinstance(part, GatedMLP):
                setattr(block, name, Int8GatedMLP(part))
            elif isinstance(part, Attention | CrossAttention | MLP):
                for layer_name, layer in part.named_children():
                    if isinstance(layer, nn.Linear):
                        setattr(part, layer_name, _quantize_linear(layer))
    return Int8Head(head)
