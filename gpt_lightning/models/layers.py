"""Parts of a transformer block: normalization, rotary positions, attention, MLP.

B batch, T tokens, S tokens attended to, H query heads, G key/value heads, D width of a head, C channels.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.kernels.elementwise import RMSNorm, ZeroCenteredRMSNorm, geglu, rotate, squared_relu, swiglu
from gpt_lightning.models.kernels.linear import Linear
from gpt_lightning.models.kv_cache import KVCache


def make_norm(config: GPTConfig) -> nn.Module:
    """Return the norm of ``config`` over ``n_embd`` channels."""
    if config.norm == "layernorm":
        return nn.LayerNorm(config.n_embd, eps=config.norm_eps, bias=config.bias is True)
    return make_rms_norm(config, config.n_embd)


def make_rms_norm(config: GPTConfig, width: int) -> RMSNorm:
    """Return the RMSNorm of ``config`` over ``width`` channels."""
    kind = ZeroCenteredRMSNorm if config.norm == "rmsnorm_zero_centered" else RMSNorm
    return kind(width, eps=config.norm_eps)


def rotary_angles(positions: Tensor, config: GPTConfig, *, local: bool = False) -> tuple[Tensor, Tensor]:
    """Return cosines and signed sines of ``positions`` (...): each (..., D) float32.

    Channel i turns together with channel i + D / 2, the layout of Llama's published weights. The angles are float32
    whatever the model's precision, since bfloat16 cannot tell position 257 from 256. They are computed for each pass:
    that costs next to nothing, and there is no buffer to convert or to keep.

    Args:
        positions: of the tokens.
        config: the model's shape.
        local: whether the angles are for layers with ``rope_local_theta``.
    """
    half = torch.arange(0, config.head_width, 2, dtype=torch.float32, device=positions.device) / config.head_width
    slowness = (config.rope_local_theta if local else config.rope_theta) ** half
    if config.rope_factor != 1.0 and not local:
        slowness = stretched(slowness, config)
    angles = positions.float().unsqueeze(-1) * (1.0 / slowness)
    cos, sin = angles.cos(), angles.sin()
    # The minus of the rotation lives in the first half of the sines, so that applying needs no negation.
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


def stretched(slowness: Tensor, config: GPTConfig) -> Tensor:
    """Llama 3.1's stretch of ``slowness``, the tokens that each pair of channels takes for one radian."""
    assert config.rope_original_block_size is not None
    turns = config.rope_original_block_size / (2.0 * math.pi * slowness)
    low, high = config.rope_low_freq_factor, config.rope_high_freq_factor
    # Frequencies are interpolated, not their inverse: 0 for those that turn slowly, 1 for those that turn fast.
    kept = ((turns - low) / (high - low)).clamp(0.0, 1.0)
    return slowness / ((1.0 - kept) / config.rope_factor + kept)


class AttentionInputs(NamedTuple):
    """What is the same for every layer of one forward pass."""

    is_causal: bool
    """Each token sees the past and itself, and nothing else masks: SDPA needs no mask tensor."""
    mask: Tensor | None
    """(B or 1, 1, T, S) bool, True where a token may look, or None."""
    rotary: tuple[Tensor, Tensor] | None
    """Cosines and signed sines of these tokens' positions, (T, 1, D) or (B, T, 1, D)."""
    cache: KVCache | None
    local_rotary: tuple[Tensor, Tensor] | None = None
    """The same for layers with ``rope_local_theta``, if there are any."""


class Attention(nn.Module):
    """Multi-head self-attention with grouped key/value heads (Vaswani et al. 2017, arXiv:1706.03762)."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_head, self.n_kv_head, self.head_width = config.n_head, config.kv_heads, config.head_width
        self.turns = config.nope_interval is None or (layer + 1) % config.nope_interval != 0
        self.is_local = config.rope_global_interval is not None and (layer + 1) % config.rope_global_interval != 0
        self.scale = None if config.query_pre_attn_scalar is None else config.query_pre_attn_scalar**-0.5
        self.dropout = config.attention_dropout
        self.widths = tuple(heads * self.head_width for heads in (self.n_head, self.n_kv_head, self.n_kv_head))
        # One product for queries, keys and values.
        self.qkv = Linear(config.n_embd, sum(self.widths), bias=bool(config.bias))
        self.proj = Linear(self.n_head * self.head_width, config.n_embd, bias=config.bias in (True, "attention"))
        q_width, k_width = self.widths[:2] if config.qk_norm == "projection" else (self.head_width, self.head_width)
        self.q_norm = make_rms_norm(config, q_width) if config.qk_norm else None
        self.k_norm = make_rms_norm(config, k_width) if config.qk_norm else None

    def forward(self, x_BTC: Tensor, inputs: AttentionInputs) -> Tensor:
        """Mix the tokens: (B, T, C) -> (B, T, C)."""
        heads = self.qkv(x_BTC).view(*x_BTC.shape[:2], -1, self.head_width)
        y_BTC: Tensor = self.proj(self.attend(heads, inputs))
        return y_BTC

    def attend(self, heads: Tensor, inputs: AttentionInputs) -> Tensor:
        """All between the two products.

        Args:
            heads: (B, T, H + 2 G, D), the queries, keys and values of each token.
            inputs: what is the same for every layer.

        Returns:
            (B, T, H D), what each token found, head by head.
        """
        rotary = (inputs.local_rotary if self.is_local else inputs.rotary) if self.turns else None
        if rotary is not None and self.q_norm is None:
            turned, v_BTGD = heads.split_with_sizes((self.n_head + self.n_kv_head, self.n_kv_head), dim=2)
            q_BTHD, k_BTGD = rotate(turned, *rotary).split_with_sizes((self.n_head, self.n_kv_head), dim=2)
        else:
            q_BTHD, k_BTGD, v_BTGD = heads.split_with_sizes((self.n_head, self.n_kv_head, self.n_kv_head), dim=2)
            if self.q_norm is not None and self.k_norm is not None:
                q_BTHD, k_BTGD = normalized(q_BTHD, self.q_norm), normalized(k_BTGD, self.k_norm)
            if rotary is not None:
                q_BTHD, k_BTGD = rotate(q_BTHD, *rotary), rotate(k_BTGD, *rotary)
        if rotary is not None and torch.is_grad_enabled():
            # A view of all three would keep the unrotated two in memory until the backward pass.
            v_BTGD = v_BTGD.contiguous()
        q_BHTD, k_BGSD, v_BGSD = (each.transpose(1, 2) for each in (q_BTHD, k_BTGD, v_BTGD))
        if inputs.cache is not None:
            k_BGSD, v_BGSD = inputs.cache.append(self.layer, k_BGSD, v_BGSD)
        y_BHTD = F.scaled_dot_product_attention(
            q_BHTD,
            k_BGSD,
            v_BGSD,
            attn_mask=inputs.mask,
            is_causal=inputs.is_causal,
            dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale,
            enable_gqa=self.n_kv_head != self.n_head,
        )
        return y_BHTD.transpose(1, 2).flatten(2)


def normalized(x_BTHD: Tensor, norm: RMSNorm) -> Tensor:
    """Normalize each head, or all heads together, depending on the width of ``norm``."""
    y: Tensor = norm(x_BTHD.reshape(*x_BTHD.shape[:2], -1, norm.normalized_shape[0]))
    return y.view_as(x_BTHD)


class MLP(nn.Module):
    """Two layers with GELU or squared ReLU between them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.squared_relu = config.mlp == "relu2"
        self.up = Linear(config.n_embd, config.inner, bias=config.bias is True)
        self.proj = Linear(config.inner, config.n_embd, bias=config.bias is True)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Transform each token alone: (B, T, C) -> (B, T, C)."""
        y_BTC: Tensor = self.proj(self.activation(self.up(x_BTC)))
        return y_BTC

    def activation(self, h: Tensor) -> Tensor:
        """What lies between the two layers."""
        return squared_relu(h) if self.squared_relu else F.gelu(h, approximate="tanh")


class GatedMLP(nn.Module):
    """Two layers, the inner one gated by the SiLU or GELU of a third."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gating = geglu if config.mlp == "geglu" else swiglu
        self.gate = Linear(config.n_embd, config.inner, bias=config.bias is True)
        self.up = Linear(config.n_embd, config.inner, bias=config.bias is True)
        self.proj = Linear(config.inner, config.n_embd, bias=config.bias is True)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Transform each token alone: (B, T, C) -> (B, T, C)."""
        y_BTC: Tensor = self.proj(self.gating(self.gate(x_BTC), self.up(x_BTC)))
        return y_BTC


class Block(nn.Module):
    """Attention, then MLP, each with one or two norms and added to the residual stream."""

    recomputes = False
    """Whether the backward pass computes anew what is inside, rather than find it in memory."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        before, after = config.norm_placement != "after", config.norm_placement != "before"
        self.norm_1, self.norm_2 = (make_norm(config) if before else nn.Identity() for _ in range(2))
        self.attention = Attention(config, layer)
        self.mlp = GatedMLP(config) if config.mlp in ("swiglu", "geglu") else MLP(config)
        self.post_norm_1, self.post_norm_2 = (make_norm(config) if after else nn.Identity() for _ in range(2))
        self.dropout = config.dropout

    def forward(self, x_BTC: Tensor, inputs: AttentionInputs) -> Tensor:
        """One step down the residual stream: (B, T, C) -> (B, T, C)."""
        # Inside the module, not around it: FSDP gathers a block's weights once for its whole backward pass.
        if self.recomputes and torch.is_grad_enabled():
            y_BTC: Tensor = checkpoint(self._add_branches, x_BTC, inputs, use_reentrant=False)
            return y_BTC
        return self._add_branches(x_BTC, inputs)

    def _add_branches(self, x_BTC: Tensor, inputs: AttentionInputs) -> Tensor:
        x_BTC = x_BTC + self._drop(self.post_norm_1(self.attention(self.norm_1(x_BTC), inputs)))
        return x_BTC + self._drop(self.post_norm_2(self.mlp(self.norm_2(x_BTC))))

    def _drop(self, x_BTC: Tensor) -> Tensor:
        return F.dropout(x_BTC, self.dropout, self.training) if self.dropout else x_BTC
