"""``GPTConfig``, the configuration of the backbone."""

import math
from dataclasses import dataclass
from typing import Final, Literal

from gpt_lightning.errors import InputError

PER_TASK: Final = ("attention", "dropout", "attention_dropout", "zero_init_proj")
"""What of the shape no weight that was trained depends on: each task decides anew."""

_COUNTS: Final = (
    "vocab_size",
    "block_size",
    "n_layer",
    "n_head",
    "n_kv_head",
    "head_dim",
    "n_embd",
    "n_inner",
    "rope_original_block_size",
    "rope_global_interval",
    "nope_interval",
    "query_pre_attn_scalar",
)


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """Everything that shapes the backbone; the defaults are GPT-2's 124M.

    Attributes:
        vocab_size: rows of the token embedding; None takes the tokenizer's size. More rows than the tokenizer has ids
            are allowed (padding to a multiple of 64 is faster on GPUs), fewer are refused.
        block_size: the longest sequence, in tokens.
        n_layer: transformer blocks.
        n_head: query heads.
        n_kv_head: key/value heads, each shared by ``n_head / n_kv_head`` query heads (Ainslie et al. 2023,
            arXiv:2305.13245); None means ``n_head``.
        head_dim: channels of one head; None means ``n_embd / n_head``.
        n_embd: width of the residual stream.
        n_inner: width inside the MLP; None means 4 x ``n_embd``, or for gated MLPs two thirds of that rounded up to a
            multiple of 64, which has about as many parameters.
        position: learned absolute positions (GPT-2), or rotary ones (Su et al. 2021, arXiv:2104.09864).
        rope_theta: base of the rotary frequencies.
        rope_factor: Llama 3.1's stretch of the rotary positions for contexts longer than those trained on (Grattafiori
            et al. 2024, arXiv:2407.21783): slow turns become so much slower, fast ones stay; 1 stretches nothing.
        rope_low_freq_factor: slow turns go round at most so often in ``rope_original_block_size`` tokens.
        rope_high_freq_factor: fast turns go round at least so often in them; what lies between is interpolated.
        rope_original_block_size: the context before the stretch, in tokens; needed where ``rope_factor`` is not 1.
        rope_global_interval: the last of every so many layers has the rotary base ``rope_theta``; the others have
            ``rope_local_theta`` and no stretch (Gemma 3, arXiv:2503.19786). None means that all have ``rope_theta``.
        rope_local_theta: base of the rotary frequencies in these other layers.
        nope_interval: every so many layers one does without rotary positions (Yang et al. 2025, arXiv:2501.18795);
            None means no layer does.
        norm: LayerNorm, or RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467), also with weights that are added to 1
            (``rmsnorm_zero_centered``), so that weight decay pulls towards 1 (Gemma, arXiv:2403.08295).
        norm_eps: added to the variance.
        norm_placement: whether attention and MLP each have a norm ``before`` them (Xiong et al. 2020,
            arXiv:2002.04745), ``after`` them, inside the residual branch (OLMo 2, arXiv:2501.00656), or ``both``
            (Gemma 2, arXiv:2408.00118).
        mlp: GELU (GPT-2's tanh form), squared ReLU (So et al. 2021, arXiv:2109.08668), or the gated SwiGLU or GeGLU
            (Shazeer 2020, arXiv:2002.05202).
        bias: biases in every linear layer and LayerNorm, or in none, or in attention's layers only (``attention``), or
            only in those that make queries, keys and values (``qkv``).
        qk_norm: RMSNorm on each head's queries and keys (Henry et al. 2020, arXiv:2010.04245), or on those of all heads
            together (``projection``; OLMo 2, arXiv:2501.00656).
        query_pre_attn_scalar: attention scores are divided by the square root of this (Gemma 2, arXiv:2408.00118); None
            means ``head_dim``.
        attention: ``causal`` sees the past and itself (a decoder), ``bidirectional`` the whole text (an encoder).
        scale_embeddings: token embeddings are multiplied by the square root of ``n_embd`` (Vaswani et al. 2017,
            arXiv:1706.03762, 3.4).
        tie_embeddings: the output layer shares the token embedding's weights.
        logit_softcap: a language model's logits become ``cap * tanh(logit / cap)`` (Gemma 2, arXiv:2408.00118); None
            leaves them as they are. Other heads do without.
        zero_init_proj: the layers that write into the residual stream start at zero, so that each block does nothing at
            first (Zhang et al. 2019, arXiv:1901.09321).
        dropout: on embeddings and both residual branches.
        attention_dropout: on attention weights; processors have no fast kernels for it, and take three times as long.
    """

    vocab_size: int | None = None
    block_size: int = 1024
    n_layer: int = 12
    n_head: int = 12
    n_kv_head: int | None = None
    head_dim: int | None = None
    n_embd: int = 768
    n_inner: int | None = None
    position: Literal["learned", "rotary"] = "learned"
    rope_theta: float = 10_000.0
    rope_factor: float = 1.0
    rope_low_freq_factor: float = 1.0
    rope_high_freq_factor: float = 4.0
    rope_original_block_size: int | None = None
    rope_global_interval: int | None = None
    rope_local_theta: float = 10_000.0
    nope_interval: int | None = None
    norm: Literal["layernorm", "rmsnorm", "rmsnorm_zero_centered"] = "layernorm"
    norm_eps: float = 1e-5
    norm_placement: Literal["before", "after", "both"] = "before"
    mlp: Literal["gelu", "swiglu", "geglu", "relu2"] = "gelu"
    bias: bool | Literal["attention", "qkv"] = True
    qk_norm: bool | Literal["projection"] = False
    query_pre_attn_scalar: int | None = None
    attention: Literal["causal", "bidirectional"] = "causal"
    scale_embeddings: bool = False
    tie_embeddings: bool = True
    logit_softcap: float | None = None
    zero_init_proj: bool = False
    dropout: float = 0.0
    attention_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"backbone.{name}={value} must be at least 1")
        if self.head_dim is None and self.n_embd % self.n_head:
            raise InputError(
                f"backbone.n_embd={self.n_embd} is not divisible by backbone.n_head={self.n_head}; "
                f"the nearest width that fits is {max(1, round(self.n_embd / self.n_head)) * self.n_head}"
            )
        if self.n_head % self.kv_heads:
            raise InputError(
                f"backbone.n_head={self.n_head} is not divisible by backbone.n_kv_head={self.n_kv_head}; "
                "each key/value head serves the same number of query heads"
            )
        if self.position == "rotary":
            self._check_rotary()
        if self.logit_softcap is not None and not 0.0 < self.logit_softcap < math.inf:
            raise InputError(f"backbone.logit_softcap={self.logit_softcap} must be positive; null caps nothing")
        for name in ("dropout", "attention_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"backbone.{name}={getattr(self, name)} must lie in [0, 1)")

    def _check_rotary(self) -> None:
        if self.head_width % 2:
            what = "n_embd / n_head" if self.head_dim is None else "head_dim"
            raise InputError(
                f"rotary positions turn pairs of channels, but {what} = {self.head_width} is odd; "
                f"change backbone.{'n_embd or backbone.n_head' if self.head_dim is None else 'head_dim'}"
            )
        for name in ("rope_theta", "rope_local_theta"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise InputError(f"backbone.{name}={getattr(self, name)} must be positive")
        if self.rope_factor == 1.0:
            return
        if self.rope_original_block_size is None:
            raise InputError(f"backbone.rope_factor={self.rope_factor} needs backbone.rope_original_block_size")
        if self.rope_factor <= 0.0 or not 0.0 < self.rope_low_freq_factor < self.rope_high_freq_factor:
            raise InputError(
                f"backbone.rope_factor={self.rope_factor} must be more than 0, "
                f"backbone.rope_low_freq_factor={self.rope_low_freq_factor} too, and "
                f"backbone.rope_high_freq_factor={self.rope_high_freq_factor} more than that"
            )

    @property
    def head_width(self) -> int:
        """Channels of one head, with None filled in."""
        return self.head_dim or self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """Key/value heads, with None filled in."""
        return self.n_kv_head or self.n_head

    @property
    def inner(self) -> int:
        """Width inside the MLP, with None filled in."""
        if self.n_inner is not None:
            return self.n_inner
        if self.mlp in ("swiglu", "geglu"):
            return -(-8 * self.n_embd // 3 // 64) * 64
        return 4 * self.n_embd
