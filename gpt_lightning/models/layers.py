"""Transformer block: norms, rotary positions, attention, MLP.

B batch, T tokens, S tokens attended to, H query heads, G key/value heads, D channels of a head, C channels.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.kernels.elementwise import RMSNorm, ZeroCenteredRMSNorm, geglu, rotate, squared_relu, swiglu
from gpt_lightning.models.kernels.linear import Linear
from gpt_lightning.models.kv_cache import KVCache
from gpt_lightning.models.source_cache import SourceCache

_ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "gelu": partial(F.gelu, approximate="tanh"),
    "gelu_exact": F.gelu,
    "relu": F.relu,
    "relu2": squared_relu,
}
"""Activation functions of the MLP without a gate."""


def make_norm(config: GPTConfig) -> nn.Module:
    """Return the norm that ``config`` prescribes, over ``n_embd`` channels."""
    if config.norm == "layernorm":
        return nn.LayerNorm(config.n_embd, eps=config.norm_eps, bias=config.bias is True)
    return make_rms_norm(config, config.n_embd)


def make_rms_norm(config: GPTConfig, width: int) -> RMSNorm:
    """Return the RMSNorm that ``config`` prescribes, over ``width`` channels."""
    kind = ZeroCenteredRMSNorm if config.norm == "rmsnorm_zero_centered" else RMSNorm
    return kind(width, eps=config.norm_eps)


def rotary_angles(positions: Tensor, config: GPTConfig, *, local: bool = False) -> tuple[Tensor, Tensor]:
    """Return the cosines and signed sines of rotary positions, (..., D) float32 each.

    Rotary pairs are channels i and i + D / 2, the layout of Llama's published weights. The sines of the first half are
    negated; see ``rotate``. The angles are always float32, because bfloat16 rounds position 257 to 256. Computing them
    in each forward pass costs little and needs no buffer.

    Args:
        positions: (...), the positions of the tokens.
        config: the configuration of the backbone.
        local: True for local layers, which have the base ``rope_local_theta``.
    """
    exponents = torch.arange(0, config.head_width, 2, dtype=torch.float32, device=positions.device) / config.head_width
    tokens_per_radian = (config.rope_local_theta if local else config.rope_theta) ** exponents
    is_scaled = config.rope_factor != 1.0 and not local
    frequencies = scaled_frequencies(tokens_per_radian, config) if is_scaled else 1.0 / tokens_per_radian
    angles = positions.float().unsqueeze(-1) * frequencies
    cos, sin = angles.cos(), angles.sin()
    if is_scaled and config.attention_factor != 1.0:
        cos, sin = cos * config.attention_factor, sin * config.attention_factor
    # The rotation negates one half of the channels. Negating half of the sines instead is cheaper.
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


def sinusoidal_positions(positions: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Return the position embeddings of Vaswani et al. 2017 (arXiv:1706.03762, 3.5), (..., C).

    Even channels are sines and odd channels cosines. The angles are always float32, as those of rotary positions.

    Args:
        positions: (...), the positions of the tokens.
        width: C, the number of channels, which is even.
        dtype: dtype of the embeddings.
    """
    exponents = torch.arange(0, width, 2, dtype=torch.float32, device=positions.device) / width
    angles = positions.float().unsqueeze(-1) / 10_000.0**exponents
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2).to(dtype)


def scaled_frequencies(tokens_per_radian: Tensor, config: GPTConfig) -> Tensor:
    """Return the frequencies of rotary pairs after RoPE scaling, in radians per token.

    Args:
        tokens_per_radian: (D / 2,) float32, the inverse frequencies before scaling.
        config: the configuration of the backbone.
    """
    if config.rope_type == "linear":
        return 1.0 / tokens_per_radian / config.rope_factor
    if config.rope_type == "yarn":
        high_share = _yarn_share(tokens_per_radian, config)
        low, high = 1.0 / (config.rope_factor * tokens_per_radian), 1.0 / tokens_per_radian
        return low * (1.0 - high_share) + high * high_share
    assert config.rope_original_block_size is not None
    rotations = config.rope_original_block_size / (2.0 * math.pi * tokens_per_radian)
    least, most = config.rope_low_freq_factor, config.rope_high_freq_factor
    # 0 for low frequencies, 1 for high ones. Llama interpolates frequencies, not wavelengths.
    high_share = ((rotations - least) / (most - least)).clamp(0.0, 1.0)
    return 1.0 / (tokens_per_radian / ((1.0 - high_share) / config.rope_factor + high_share))


def _yarn_share(tokens_per_radian: Tensor, config: GPTConfig) -> Tensor:
    """Return 0 for low frequencies, 1 for high ones, and a linear ramp over the pairs between them."""
    assert config.rope_original_block_size is not None
    width, tokens = config.head_width, config.rope_original_block_size

    def pair_of(rotations: float) -> float:
        """Return the index of the pair with this many rotations in the original context."""
        return width * math.log(tokens / (rotations * 2.0 * math.pi)) / (2.0 * math.log(config.rope_theta))

    first = max(math.floor(pair_of(config.rope_high_freq_factor)), 0)
    last = min(math.ceil(pair_of(config.rope_low_freq_factor)), width - 1)
    pairs = torch.arange(len(tokens_per_radian), dtype=torch.float32, device=tokens_per_radian.device)
    # The published implementations avoid a division by zero in this way.
    return 1.0 - ((pairs - first) / (last - first or 0.001)).clamp(0.0, 1.0)


class Memory(NamedTuple):
    """Encoded sources, to which the tokens of a decoder attend."""

    hidden: Tensor
    """(B, S, C), the hidden states of the encoder."""
    mask: Tensor | None
    """(B, 1, 1, S) bool, False for padding; None without padding."""


class AttentionInputs(NamedTuple):
    """Inputs of attention that all layers of a forward pass share."""

    is_causal: bool
    """True if plain causal attention is enough, for which SDPA needs no mask tensor."""
    mask: Tensor | None
    """(B or 1, 1, T, S) bool, True where a token may attend; None for no restriction."""
    rotary: tuple[Tensor, Tensor] | None
    """Cosines and signed sines of the positions, (T, 1, D) or (B, T, 1, D); None without rotary positions."""
    cache: KVCache | None
    """Keys and values of earlier tokens."""
    local_rotary: tuple[Tensor, Tensor] | None = None
    """Cosines and signed sines for local layers, which have the base ``rope_local_theta``."""
    memory: Memory | None = None
    """Encoded sources; None for models without an encoder, and if the cache holds their keys and values."""


class Attention(nn.Module):
    """Multi-head self-attention with grouped key/value heads (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
        config: the configuration of the backbone.
        layer: index of the layer, from 0.
    """

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_head, self.n_kv_head, self.head_width = config.n_head, config.kv_heads, config.head_width
        self.is_rotary = config.nope_interval is None or (layer + 1) % config.nope_interval != 0
        self.is_local = config.rope_global_interval is not None and (layer + 1) % config.rope_global_interval != 0
        self.scale = None if config.query_pre_attn_scalar is None else config.query_pre_attn_scalar**-0.5
        self.dropout = config.attention_dropout
        self.widths = tuple(heads * self.head_width for heads in (self.n_head, self.n_kv_head, self.n_kv_head))
        # Queries, keys and values share one matrix product.
        self.qkv = Linear(config.n_embd, sum(self.widths), bias=bool(config.bias))
        self.proj = Linear(self.n_head * self.head_width, config.n_embd, bias=config.bias in (True, "attention"))
        q_width, k_width = self.widths[:2] if config.qk_norm == "projection" else (self.head_width, self.head_width)
        self.q_norm = make_rms_norm(config, q_width) if config.qk_norm else None
        self.k_norm = make_rms_norm(config, k_width) if config.qk_norm else None

    def forward(self, x_BTC: Tensor, inputs: AttentionInputs) -> Tensor:
        """Apply attention: (B, T, C) -> (B, T, C)."""
        heads = self.qkv(x_BTC).view(*x_BTC.shape[:2], -1, self.head_width)
        y_BTC: Tensor = self.proj(self.attend(heads, inputs))
        return y_BTC

    def attend(self, heads: Tensor, inputs: AttentionInputs) -> Tensor:
        """Apply attention without its two linear layers.

        Args:
            heads: (B, T, H + 2 G, D), the queries, keys and values of each token.
            inputs: the inputs that all layers share.

        Returns:
            (B, T, H D), the outputs of all heads.
        """
        rotary = (inputs.local_rotary if self.is_local else inputs.rotary) if self.is_rotary else None
        if rotary is not None and self.q_norm is None:
            qk_BTHD, v_BTGD = heads.split_with_sizes((self.n_head + self.n_kv_head, self.n_kv_head), dim=2)
            q_BTHD, k_BTGD = rotate(qk_BTHD, *rotary).split_with_sizes((self.n_head, self.n_kv_head), dim=2)
        else:
            q_BTHD, k_BTGD, v_BTGD = heads.split_with_sizes((self.n_head, self.n_kv_head, self.n_kv_head), dim=2)
            if self.q_norm is not None and self.k_norm is not None:
                q_BTHD, k_BTGD = normalize_heads(q_BTHD, self.q_norm), normalize_heads(k_BTGD, self.k_norm)
            if rotary is not None:
                q_BTHD, k_BTGD = rotate(q_BTHD, *rotary), rotate(k_BTGD, *rotary)
        if rotary is not None and torch.is_grad_enabled():
            # A view would keep the unrotated queries and keys in memory until the backward pass.
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


class CrossAttention(nn.Module):
    """Multi-head attention of a decoder to the hidden states of the encoder, without positions.

    Args:
        config: the configuration of the backbone.
        layer: index of the layer, from 0.
    """

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_head, self.n_kv_head, self.head_width = config.n_head, config.kv_heads, config.head_width
        self.scale = None if config.query_pre_attn_scalar is None else config.query_pre_attn_scalar**-0.5
        self.dropout = config.attention_dropout
        q_width, self.kv_width = self.n_head * self.head_width, self.n_kv_head * self.head_width
        self.q = Linear(config.n_embd, q_width, bias=bool(config.bias))
        self.kv = Linear(config.n_embd, 2 * self.kv_width, bias=bool(config.bias))
        self.proj = Linear(q_width, config.n_embd, bias=config.bias in (True, "attention"))
        is_wide = config.qk_norm == "projection"
        self.q_norm = make_rms_norm(config, q_width if is_wide else self.head_width) if config.qk_norm else None
        self.k_norm = make_rms_norm(config, self.kv_width if is_wide else self.head_width) if config.qk_norm else None

    def forward(self, x_BTC: Tensor, inputs: AttentionInputs) -> Tensor:
        """Apply attention: (B, T, C) -> (B, T, C)."""
        q_BTHD = self.q(x_BTC).view(*x_BTC.shape[:2], -1, self.head_width)
        y_BTC: Tensor = self.proj(self.attend(q_BTHD, inputs))
        return y_BTC

    def keys_and_values(self, hidden_BSC: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of encoded sources, (B, G, S, D) each."""
        heads = self.kv(hidden_BSC).view(*hidden_BSC.shape[:2], -1, self.head_width)
        k_BSGD, v_BSGD = heads.chunk(2, dim=2)
        if self.k_norm is not None:
            k_BSGD = normalize_heads(k_BSGD, self.k_norm)
        return k_BSGD.transpose(1, 2), v_BSGD.transpose(1, 2)

    def attend(self, q_BTHD: Tensor, inputs: AttentionInputs) -> Tensor:
        """Apply attention without the layers of queries and outputs.

        Args:
            q_BTHD: queries of each token.
            inputs: the inputs that all layers share, with ``memory`` or with a cache that has the keys and values.

        Returns:
            (B, T, H D), the outputs of all heads.
        """
        if inputs.memory is not None:
            (k_BGSD, v_BGSD), mask = self.keys_and_values(inputs.memory.hidden), inputs.memory.mask
        else:
            assert isinstance(inputs.cache, SourceCache)
            (k_BGSD, v_BGSD), mask = inputs.cache.sources[self.layer], inputs.cache.source_mask
        if self.q_norm is not None:
            q_BTHD = normalize_heads(q_BTHD, self.q_norm)
        y_BHTD = F.scaled_dot_product_attention(
            q_BTHD.transpose(1, 2),
            k_BGSD,
            v_BGSD,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale,
            enable_gqa=self.n_kv_head != self.n_head,
        )
        return y_BHTD.transpose(1, 2).flatten(2)


def normalize_heads(x_BTHD: Tensor, norm: RMSNorm) -> Tensor:
    """Normalize each head, or all heads as one vector, depending on the width of ``norm``."""
    y: Tensor = norm(x_BTHD.reshape(*x_BTHD.shape[:2], -1, norm.normalized_shape[0]))
    return y.view_as(x_BTHD)


class MLP(nn.Module):
    """Feed-forward network of two linear layers with GELU, ReLU or squared ReLU between them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.activation = _ACTIVATIONS[config.mlp]
        self.up = Linear(config.n_embd, config.mlp_width, bias=config.bias is True)
        self.proj = Linear(config.mlp_width, config.n_embd, bias=config.bias is True)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Apply the network to each token: (B, T, C) -> (B, T, C)."""
        y_BTC: Tensor = self.proj(self.activation(self.up(x_BTC)))
        return y_BTC


class GatedMLP(nn.Module):
    """Feed-forward network gated by the SiLU or GELU of a third linear layer (SwiGLU, GeGLU)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gating = geglu if config.mlp == "geglu" else swiglu
        self.gate = Linear(config.n_embd, config.mlp_width, bias=config.bias is True)
        self.up = Linear(config.n_embd, config.mlp_width, bias=config.bias is True)
        self.proj = Linear(config.mlp_width, config.n_embd, bias=config.bias is True)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Apply the network to each token: (B, T, C) -> (B, T, C)."""
        y_BTC: Tensor = self.proj(self.gating(self.gate(x_BTC), self.up(x_BTC)))
        return y_BTC


class Block(nn.Module):
    """Attention and MLP with their norms, each added to the residual stream; in a decoder, with cross-attention.

    Args:
        config: the configuration of the backbone.
        layer: index of the block, from 0.
    """

    is_checkpointed = False
    """True if the backward pass recomputes the activations of the block."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        before, after = config.norm_placement != "after", config.norm_placement in ("after", "both")
        self.norm_1, self.norm_2 = (make_norm(config) if before else nn.Identity() for _ in range(2))
        self.attention = Attention(config, layer)
        self.mlp = GatedMLP(config) if config.mlp in ("swiglu", "geglu") else MLP(config)
        self.post_norm_1, self.post_norm_2 = (make_norm(config) if after else nn.Identity() for _ in range(2))
        self.cross_attention = None if config.n_encoder_layer is None else CrossAttention(config, layer)
        if self.cross_attention is not None:
            self.cross_norm = make_norm(config) if before else nn.Identity()
            self.cross_post_norm = make_norm(config) if after else nn.Identity()
        self.dropout = config.dropout

    def forward(self, x_BTC: Tensor, inputs: AttentionInputs) -> Tensor:
        """Apply the block: (B, T, C) -> (B, T, C)."""
        # Checkpointing inside the module lets FSDP gather its weights once for the whole backward pass.
        if self.is_checkpointed and torch.is_grad_enabled():
            y_BTC: Tensor = checkpoint(self._add_branches, x_BTC, inputs, use_reentrant=False)
            return y_BTC
        return self._add_branches(x_BTC, inputs)

    def _add_branches(self, x_BTC: Tensor, inputs: AttentionInputs) -> Tensor:
        x_BTC = x_BTC + self._apply_dropout(self.post_norm_1(self.attention(self.norm_1(x_BTC), inputs)))
        if self.cross_attention is not None:
            y_BTC = self.cross_attention(self.cross_norm(x_BTC), inputs)
            x_BTC = x_BTC + self._apply_dropout(self.cross_post_norm(y_BTC))
        return x_BTC + self._apply_dropout(self.post_norm_2(self.mlp(self.norm_2(x_BTC))))

    def _apply_dropout(self, x_BTC: Tensor) -> Tensor:
        return F.dropout(x_BTC, self.dropout, self.training) if self.dropout else x_BTC


class PostNormBlock(Block):
    """Block that normalizes the residual stream after each addition (Vaswani et al. 2017, arXiv:1706.03762)."""

    def _add_branches(self, x_BTC: Tensor, inputs: AttentionInputs) -> Tensor:
        x_BTC = self.norm_1(x_BTC + self._apply_dropout(self.attention(x_BTC, inputs)))
        if self.cross_attention is not None:
            x_BTC = self.cross_norm(x_BTC + self._apply_dropout(self.cross_attention(x_BTC, inputs)))
        y_BTC: Tensor = self.norm_2(x_BTC + self._apply_dropout(self.mlp(x_BTC)))
        return y_BTC


def make_block(config: GPTConfig, layer: int) -> Block:
    """Return the block with index ``layer`` that ``config`` prescribes."""
    return (PostNormBlock if config.norm_placement == "after_residual" else Block)(config, layer)
