"""Inference-only forward pass with a key/value cache, without module-call overhead.

Nested module calls take a quarter of the time of a decode step on a CPU, for a model of 135M parameters. So the blocks
are plain functions here, which compute the same.

B batch, T tokens, N = B * T, C channels.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.encoder_decoder import EncoderDecoder
from gpt_lightning.models.generation.int8 import Int8GatedMLP, Int8Linear
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.interventions import check_incremental
from gpt_lightning.models.kernels.elementwise import RMSNorm, ZeroCenteredRMSNorm
from gpt_lightning.models.kernels.linear import Linear
from gpt_lightning.models.kv_cache import KVCache
from gpt_lightning.models.layers import (
    MLP,
    Attention,
    AttentionInputs,
    Block,
    CrossAttention,
    GatedMLP,
    PostNormBlock,
)

Function = Callable[[Tensor], Tensor]
BlockFunction = Callable[[Tensor, int, AttentionInputs], Tensor]

_SUPPORTED: Final = (
    *(GPT, Block, Attention, MLP, GatedMLP, Linear, RMSNorm, ZeroCenteredRMSNorm, Int8Linear, Int8GatedMLP),
    *(EncoderDecoder, PostNormBlock, CrossAttention, nn.ModuleList, nn.Embedding, nn.LayerNorm, nn.Identity),
)
"""Types of modules that ``Decoder`` replaces with functions."""


class TextDecoder(Protocol):
    """Model that the generation loops run: it appends tokens to a cache and returns their hidden states."""

    @property
    def config(self) -> GPTConfig:
        """Configuration of the model; prompt and new tokens share its ``block_size``."""

    def make_cache(self, rows: int, capacity: int) -> KVCache:
        """Return an empty cache, on the device of the model.

        Args:
            rows: number of rows.
            capacity: maximum number of tokens per row.
        """

    def __call__(self, input_ids: Tensor, cache: KVCache, attention_mask: Tensor | None = None) -> Tensor:
        """Return the hidden states of all tokens after the final norm, (B, T, C).

        Args:
            input_ids: (B, T) int64.
            cache: cache of earlier tokens, to which ``input_ids`` are appended.
            attention_mask: (B, T), nonzero for tokens, 0 for padding, which must be on the right.
        """


class Decoder:
    """``GPT.forward`` with a cache, for inference with constant weights.

    Args:
        backbone: the backbone, in ``eval`` mode. If it has hooks or modules of other types, such as LoRA adapters or
            those of sharding strategies, calls fall back to ``GPT.forward``. So do calls inside of ``patch`` and
            ``record``.
    """

    def __init__(self, backbone: GPT) -> None:
        self._backbone = backbone
        self._is_supported = all(
            type(part) in _SUPPORTED and not (part._forward_hooks or part._forward_pre_hooks)
            for part in backbone.modules()
        )
        self._blocks: dict[int, list[BlockFunction]] = {}  # key: the number of tokens in the batch

    @property
    def config(self) -> GPTConfig:
        """Configuration of the backbone."""
        return self._backbone.config

    def make_cache(self, rows: int, capacity: int) -> KVCache:
        """Return an empty cache with the device and the dtype of the backbone; see ``TextDecoder``."""
        weight = self._backbone.token_embedding.weight
        return KVCache(self.config, rows, capacity=capacity, device=weight.device, dtype=weight.dtype)

    def __call__(self, input_ids: Tensor, cache: KVCache, attention_mask: Tensor | None = None) -> Tensor:
        """Return the hidden states of all tokens after the final norm, (B, T, C).

        Args:
            input_ids: (B, T) int64.
            cache: keys and values of earlier tokens, to which those of ``input_ids`` are appended.
            attention_mask: (B, T), nonzero for tokens, 0 for padding, which must be on the right.
        """
        gpt = self._backbone
        if gpt.interventions:
            check_incremental(gpt)
        if gpt.interventions or not self._is_supported:
            # Calling a compiled module instead of ``forward`` would recompile it for each length of the cache.
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
            self._blocks[tokens] = [_block_function(block, tokens) for block in self._backbone.blocks]
        for block in self._blocks[tokens]:
            x_NC = block(x_NC, num_rows, inputs)
        return x_NC.view_as(x_BTC)


def _block_function(block: nn.Module, tokens: int) -> BlockFunction:
    """Return a function that applies ``block`` to N = ``tokens`` tokens, in place."""
    assert isinstance(block, Block)
    norm_1, norm_2, mlp = _norm_function(block.norm_1), _norm_function(block.norm_2), _mlp_function(block.mlp, tokens)
    post_norm_1, post_norm_2 = _norm_function(block.post_norm_1), _norm_function(block.post_norm_2)
    attention, cross_attention = _attention_function(block.attention, tokens), None
    if block.cross_attention is not None:
        cross_attention = _attention_function(block.cross_attention, tokens)
        cross_norm, cross_post_norm = _norm_function(block.cross_norm), _norm_function(block.cross_post_norm)

    def apply(x_NC: Tensor, num_rows: int, inputs: AttentionInputs) -> Tensor:
        x_NC.add_(post_norm_1(attention(norm_1(x_NC), num_rows, inputs)))
        if cross_attention is not None:
            x_NC.add_(cross_post_norm(cross_attention(cross_norm(x_NC), num_rows, inputs)))
        return x_NC.add_(post_norm_2(mlp(norm_2(x_NC))))

    def apply_post_norm(x_NC: Tensor, num_rows: int, inputs: AttentionInputs) -> Tensor:
        x_NC = norm_1(x_NC.add_(attention(x_NC, num_rows, inputs)))
        if cross_attention is not None:
            x_NC = cross_norm(x_NC.add_(cross_attention(x_NC, num_rows, inputs)))
        return norm_2(x_NC.add_(mlp(x_NC)))

    return apply_post_norm if isinstance(block, PostNormBlock) else apply


def _attention_function(layer: Attention | CrossAttention, tokens: int) -> BlockFunction:
    """Return a function that applies a layer of attention to N = ``tokens`` tokens."""
    heads = _linear_function(layer.qkv if isinstance(layer, Attention) else layer.q, tokens)
    proj, attend, width = _linear_function(layer.proj, tokens), layer.attend, layer.head_width

    def apply(x_NC: Tensor, num_rows: int, inputs: AttentionInputs) -> Tensor:
        heads_BTHD = heads(x_NC).view(num_rows, tokens // num_rows, -1, width)
        return proj(attend(heads_BTHD, inputs).flatten(0, 1))

    return apply


def _norm_function(norm: nn.Module) -> Function:
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
    # x / sqrt(sum(x**2) + C * eps) * (gain * sqrt(C)) is RMSNorm in four calls; torch takes a dozen.
    width = norm.weight.numel()
    scale_C, root_eps = norm.gain() * width**0.5, norm.weight.new_tensor((norm.eps * width) ** 0.5)
    l2_norm = partial(torch.linalg.vector_norm, dim=-1, keepdim=True)
    return lambda x_NC: (x_NC / torch.hypot(l2_norm(x_NC), root_eps)).mul_(scale_C)


def _mlp_function(mlp: nn.Module, tokens: int) -> Function:
    if isinstance(mlp, Int8GatedMLP):
        return mlp.forward
    assert isinstance(mlp, MLP | GatedMLP)
    up, proj = _linear_function(mlp.up, tokens), _linear_function(mlp.proj, tokens)
    if isinstance(mlp, MLP):
        activation = mlp.activation
        return lambda x_NC: proj(activation(up(x_NC)))
    gate = _linear_function(mlp.gate, tokens)
    gating = mlp.gating
    return lambda x_NC: proj(gating(gate(x_NC), up(x_NC)))


def _linear_function(layer: nn.Module, tokens: int) -> Function:
    if isinstance(layer, Int8Linear):
        return layer.forward
    assert isinstance(layer, Linear)
    return layer.as_function(tokens)
