"""Inference-only forward pass with a KV cache, without module-call overhead.

A token costs reading all weights once. What else it costs are calls, of modules that call modules above all: for 135M
weights on a processor a quarter of the whole. So the blocks are plain functions here, of the same formulas.

B batch, T tokens, N of them in the batch, C channels.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt_lightning.models.generation.int8 import Int8GatedMLP, Int8Linear
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.kernels.elementwise import RMSNorm, ZeroCenteredRMSNorm
from gpt_lightning.models.kernels.linear import Linear
from gpt_lightning.models.kv_cache import KVCache
from gpt_lightning.models.layers import MLP, Attention, AttentionInputs, Block, GatedMLP

Function = Callable[[Tensor], Tensor]
PlainBlock = Callable[[Tensor, int, AttentionInputs], Tensor]

_KNOWN: Final = (
    *(GPT, Block, Attention, MLP, GatedMLP, Linear, RMSNorm, ZeroCenteredRMSNorm, Int8Linear, Int8GatedMLP),
    *(nn.ModuleList, nn.Embedding, nn.LayerNorm, nn.Identity),
)


class Decoder:
    """``GPT.forward`` with a cache, where no gradients are wanted and weights stay as they are.

    Args:
        backbone: in ``eval`` mode. If it has parts of others, or something hangs on one, such as adapters or a strategy
            that shares out weights, its modules are called as ever.
    """

    def __init__(self, backbone: GPT) -> None:
        self._backbone = backbone
        self._is_plain = all(
            type(part) in _KNOWN and not (part._forward_hooks or part._forward_pre_hooks) for part in backbone.modules()
        )
        self._blocks: dict[int, list[PlainBlock]] = {}  # by tokens of the batch

    def __call__(self, input_ids: Tensor, cache: KVCache, attention_mask: Tensor | None = None) -> Tensor:
        """Hidden states of every token, after the last norm: (B, T) -> (B, T, C).

        Args:
            input_ids: (B, T) int64.
            cache: keys and values of the tokens before these; these are appended to it, but for the padding.
            attention_mask: (B, T), nonzero for real tokens; padding is on the right.
        """
        gpt = self._backbone
        if not self._is_plain:
            # ``forward``, because a compiled call would compile again for each length of the cache.
            return gpt.forward(input_ids, attention_mask=attention_mask, cache=cache)
        x_BTC, inputs = gpt.prepare(input_ids, attention_mask=attention_mask, cache=cache)
        x_BTC = self._run_blocks(x_BTC, inputs)
        cache.advance(input_ids.size(1), attention_mask)
        hidden_BTC: Tensor = gpt.norm(x_BTC)
        return hidden_BTC

    def _run_blocks(self, x_BTC: Tensor, inputs: AttentionInputs) -> Tensor:
        num_rows, x_NC = len(x_BTC), x_BTC.flatten(0, 1)
        tokens = len(x_NC)
        if tokens not in self._blocks:
            self._blocks[tokens] = [_plain_block(block, tokens) for block in self._backbone.blocks]
        for block in self._blocks[tokens]:
            x_NC = block(x_NC, num_rows, inputs)
        return x_NC.view_as(x_BTC)


def _plain_block(block: nn.Module, tokens: int) -> PlainBlock:
    """``Block`` for so many tokens, in place."""
    assert isinstance(block, Block)
    norm_1, norm_2, mlp = _plain_norm(block.norm_1), _plain_norm(block.norm_2), _plain_mlp(block.mlp, tokens)
    post_norm_1, post_norm_2 = _plain_norm(block.post_norm_1), _plain_norm(block.post_norm_2)
    attend, width = block.attention.attend, block.attention.head_width
    qkv, proj = _plain_linear(block.attention.qkv, tokens), _plain_linear(block.attention.proj, tokens)

    def plain(x_NC: Tensor, num_rows: int, inputs: AttentionInputs) -> Tensor:
        heads = qkv(norm_1(x_NC)).view(num_rows, tokens // num_rows, -1, width)
        x_NC.add_(post_norm_1(proj(attend(heads, inputs).flatten(0, 1))))
        return x_NC.add_(post_norm_2(mlp(norm_2(x_NC))))

    return plain


def _plain_norm(norm: nn.Module) -> Function:
    if isinstance(norm, nn.LayerNorm):
        shape, weight, bias = norm.normalized_shape, norm.weight, norm.bias
        return partial(F.layer_norm, normalized_shape=shape, weight=weight, bias=bias, eps=norm.eps)
    if isinstance(norm, nn.Identity):
        return lambda x_NC: x_NC
    assert isinstance(norm, RMSNorm)
    assert norm.eps is not None
    if not (norm.weight.is_cpu and norm.weight.dtype == torch.float32):
        if isinstance(norm, ZeroCenteredRMSNorm):
            return norm.forward
        return partial(F.rms_norm, normalized_shape=norm.normalized_shape, weight=norm.weight, eps=norm.eps)
    # Without the mean, whose divisor the weight has taken over: four calls where torch makes a dozen.
    width = norm.weight.numel()
    scale_C, least = norm.gain() * width**0.5, norm.weight.new_tensor((norm.eps * width) ** 0.5)
    length = partial(torch.linalg.vector_norm, dim=-1, keepdim=True)
    return lambda x_NC: (x_NC / torch.hypot(length(x_NC), least)).mul_(scale_C)


def _plain_mlp(mlp: nn.Module, tokens: int) -> Function:
    if isinstance(mlp, Int8GatedMLP):
        return mlp.forward
    assert isinstance(mlp, MLP | GatedMLP)
    up, proj = _plain_linear(mlp.up, tokens), _plain_linear(mlp.proj, tokens)
    if isinstance(mlp, MLP):
        activation = mlp.activation
        return lambda x_NC: proj(activation(up(x_NC)))
    gate = _plain_linear(mlp.gate, tokens)
    gating = mlp.gating
    return lambda x_NC: proj(gating(gate(x_NC), up(x_NC)))


def _plain_linear(layer: nn.Module, tokens: int) -> Function:
    if isinstance(layer, Int8Linear):
        return layer.forward
    assert isinstance(layer, Linear)
    return layer.plain(tokens)
