"""Configuration of the backbone."""

import math
from dataclasses import dataclass
from typing import Final, Literal

from gpt_lightning.errors import InputError
from gpt_lightning.ranges import MAX_COUNT, check_count, check_number

PER_TASK: Final = ("attention", "dropout", "attention_dropout", "zero_init_proj")
"""Fields that no trained weight depends on; each task may set its own value."""

_COUNTS: Final = (
    "vocab_size",
    "block_size",
    "n_layer",
    "n_encoder_layer",
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

_MAX_LAYERS: Final = 10_000
"""Far above the deepest published model; building the modules of more layers would take minutes."""


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """Shape and options of the backbone; the defaults are those of GPT-2 124M.

    Attributes:
        vocab_size: number of rows of the token embedding; null takes the size of the tokenizer's vocabulary. A larger
            value pads the embedding, which is faster on GPUs if it is a multiple of 64. A smaller value is an error.
        block_size: maximum sequence length in tokens. Attention takes time in proportion to its square.
        n_layer: number of transformer blocks; in an encoder-decoder, those of the decoder.
        n_encoder_layer: number of blocks of the encoder of an encoder-decoder (Vaswani et al. 2017, arXiv:1706.03762),
            which ``Seq2SeqLM`` needs. null is a model without an encoder of its own, which all other tasks need.
        n_head: number of query heads of each attention layer.
        n_kv_head: number of key/value heads, a divisor of ``n_head``; null means ``n_head``. Fewer heads make the
            key/value cache smaller and generation faster (grouped-query attention, Ainslie et al. 2023,
            arXiv:2305.13245).
        head_dim: channels of each head; null means ``n_embd / n_head``.
        n_embd: channels of the residual stream.
        n_inner: hidden channels of the MLP; null means ``4 * n_embd``. For a gated MLP it means two thirds of that,
            rounded up to a multiple of 64, which gives about as many parameters.
        position: ``learned`` absolute position embeddings (GPT-2), ``rotary`` position embeddings (RoPE, Su et al.
            2021, arXiv:2104.09864), or fixed ``sinusoidal`` ones, which are added to the token embeddings (Vaswani et
            al. 2017, arXiv:1706.03762, 3.5).
        rope_theta: base of the rotary frequencies. Use a larger one for long contexts, such as 500,000 (Llama 3).
        rope_type: RoPE scaling, for contexts longer than those of pretraining. ``linear`` divides all frequencies by
            ``rope_factor`` (Chen et al. 2023, arXiv:2306.15595). ``llama3`` (Grattafiori et al. 2024, arXiv:2407.21783)
            and ``yarn`` (Peng et al. 2023, arXiv:2309.00071) divide low frequencies and keep high ones. Between low and
            high, ``llama3`` interpolates by frequency, ``yarn`` by channel.
        rope_factor: factor of the RoPE scaling; 1 turns it off.
        rope_low_freq_factor: frequencies of at most this many rotations in ``rope_original_block_size`` tokens are low.
            YaRN calls it beta_slow, and its paper uses 1.
        rope_high_freq_factor: frequencies of at least this many rotations in ``rope_original_block_size`` tokens are
            high. YaRN calls it beta_fast, and its paper uses 32.
        rope_original_block_size: context length of pretraining, in tokens; required for ``llama3`` and ``yarn`` if
            ``rope_factor`` is not 1.
        rope_attention_factor: YaRN multiplies rotated queries and keys by this number; null means
            ``0.1 * ln(rope_factor) + 1``, or 1 for factors below 1.
        rope_global_interval: every n-th layer is global, with the rotary base ``rope_theta``. The others are local,
            with ``rope_local_theta`` and without RoPE scaling (Gemma 3, arXiv:2503.19786). null makes all layers
            global.
        rope_local_theta: base of the rotary frequencies of local layers.
        nope_interval: every n-th layer has no rotary positions (NoPE, Yang et al. 2025, arXiv:2501.18795). null gives
            rotary positions to all layers.
        norm: ``layernorm``, ``rmsnorm`` (Zhang & Sennrich 2019, arXiv:1910.07467), or ``rmsnorm_zero_centered``, whose
            gain is 1 + weight, so that weight decay pulls the gain towards 1 (Gemma, arXiv:2403.08295).
        norm_eps: added to the variance for numerical stability.
        norm_placement: norms of attention and MLP. ``before`` normalizes their inputs (pre-norm, Xiong et al. 2020,
            arXiv:2002.04745). ``after`` normalizes their outputs, which are then added to the residual stream (OLMo 2,
            arXiv:2501.00656). ``both`` normalizes inputs and outputs (Gemma 2, arXiv:2408.00118). ``after_residual``
            normalizes the residual stream after each addition, and the model has no final norm (post-norm, Vaswani et
            al. 2017, arXiv:1706.03762). It needs a warmup of the learning rate.
        norm_embeddings: normalize the sum of token and position embeddings (BART, arXiv:1910.13461).
        mlp: activation of the MLP: ``gelu`` (with the tanh approximation, as in GPT-2), ``gelu_exact`` (without it, as
            in nanoGPT and Cerebras-GPT), ``relu`` (Vaswani et al. 2017), ``relu2`` (squared ReLU, So et al. 2021,
            arXiv:2109.08668), or the gated ``swiglu`` or ``geglu`` (Shazeer 2020, arXiv:2002.05202).
        bias: ``true`` gives biases to all linear layers and LayerNorms, ``false`` to none, ``attention`` to the linear
            layers of attention, and ``qkv`` to the projections of queries, keys and values.
        qk_norm: ``true`` applies RMSNorm to the queries and keys of each head (Henry et al. 2020, arXiv:2010.04245),
            ``projection`` to those of all heads as one vector (OLMo 2, arXiv:2501.00656). It makes training with high
            learning rates more stable.
        query_pre_attn_scalar: attention scores are divided by its square root; null means ``head_dim`` (Gemma 2,
            arXiv:2408.00118).
        attention: ``causal`` lets each token attend to itself and to earlier tokens (a decoder); generation needs it.
            ``bidirectional`` lets each token attend to all tokens (an encoder). ``prefix`` is causal, except that the
            tokens of a prompt attend to each other in both directions (Raffel et al. 2020, arXiv:1910.10683, 3.2.1);
            text without prompts is read causally.
        scale_embeddings: multiply token embeddings by the square root of ``n_embd`` (Vaswani et al. 2017,
            arXiv:1706.03762, 3.4).
        tie_embeddings: share the weights of the token embedding with the output layer of a language model.
        share_embeddings: share the token embedding between encoder and decoder. Models without an encoder ignore it.
        logit_softcap: the logits of a language model become ``cap * tanh(logit / cap)`` (Gemma 2, arXiv:2408.00118).
            null turns it off. Other heads ignore it.
        zero_init_proj: initialize the output projections of attention and MLP with zeros, so that each block starts as
            the identity (Zhang et al. 2019, arXiv:1901.09321).
        dropout: dropout probability of embeddings and of the outputs of attention and MLP. Raise it (0.1 to 0.2) if
            the model overfits.
        attention_dropout: dropout probability of attention weights. On CPUs, attention takes three times as long with
            it, because there is no fast kernel.
    """

    vocab_size: int | None = None
    block_size: int = 1024
    n_layer: int = 12
    n_encoder_layer: int | None = None
    n_head: int = 12
    n_kv_head: int | None = None
    head_dim: int | None = None
    n_embd: int = 768
    n_inner: int | None = None
    position: Literal["learned", "rotary", "sinusoidal"] = "learned"
    rope_theta: float = 10_000.0
    rope_type: Literal["llama3", "linear", "yarn"] = "llama3"
    rope_factor: float = 1.0
    rope_low_freq_factor: float = 1.0
    rope_high_freq_factor: float = 4.0
    rope_original_block_size: int | None = None
    rope_attention_factor: float | None = None
    rope_global_interval: int | None = None
    rope_local_theta: float = 10_000.0
    nope_interval: int | None = None
    norm: Literal["layernorm", "rmsnorm", "rmsnorm_zero_centered"] = "layernorm"
    norm_eps: float = 1e-5
    norm_placement: Literal["before", "after", "both", "after_residual"] = "before"
    norm_embeddings: bool = False
    mlp: Literal["gelu", "gelu_exact", "swiglu", "geglu", "relu", "relu2"] = "gelu"
    bias: bool | Literal["attention", "qkv"] = True
    qk_norm: bool | Literal["projection"] = False
    query_pre_attn_scalar: int | None = None
    attention: Literal["causal", "bidirectional", "prefix"] = "causal"
    scale_embeddings: bool = False
    tie_embeddings: bool = True
    share_embeddings: bool = True
    logit_softcap: float | None = None
    zero_init_proj: bool = False
    dropout: float = 0.0
    attention_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None:
                check_count(f"backbone.{name}", value, most=_MAX_LAYERS if name.endswith("layer") else MAX_COUNT)
        check_number("backbone.norm_eps", self.norm_eps)
        if self.head_dim is None and self.n_embd % self.n_head:
            raise InputError(
                f"backbone.n_embd={self.n_embd} is not divisible by backbone.n_head={self.n_head}. "
                "Set backbone.head_dim, or change backbone.n_embd; the nearest multiple is "
                f"{max(1, round(self.n_embd / self.n_head)) * self.n_head}"
            )
        if self.n_head % self.kv_heads:
            raise InputError(
                f"backbone.n_head={self.n_head} is not divisible by backbone.n_kv_head={self.n_kv_head}. "
                "Set backbone.n_kv_head to a divisor of backbone.n_head"
            )
        if self.position == "rotary":
            self._check_rotary()
        if self.position == "sinusoidal" and self.n_embd % 2:
            raise InputError(
                f"sinusoidal positions are pairs of sine and cosine, but backbone.n_embd={self.n_embd} is odd. "
                "Change backbone.n_embd"
            )
        if self.logit_softcap is not None and not 0.0 < self.logit_softcap < math.inf:
            raise InputError(f"backbone.logit_softcap={self.logit_softcap} must be positive; null turns it off")
        for name in ("dropout", "attention_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"backbone.{name}={getattr(self, name)} must lie in [0, 1)")

    def _check_rotary(self) -> None:
        if self.head_width % 2:
            what = "n_embd / n_head" if self.head_dim is None else "head_dim"
            raise InputError(
                f"rotary positions rotate pairs of channels, but {what} = {self.head_width} is odd. "
                f"Change backbone.{'n_embd or backbone.n_head' if self.head_dim is None else 'head_dim'}"
            )
        for name in ("rope_theta", "rope_local_theta"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise InputError(f"backbone.{name}={getattr(self, name)} must be positive")
        if self.rope_attention_factor is not None and not (
            self.rope_type == "yarn" and self.rope_factor != 1.0 and 0.0 < self.rope_attention_factor < math.inf
        ):
            raise InputError(
                f"backbone.rope_attention_factor={self.rope_attention_factor} must be positive, and needs "
                "backbone.rope_type=yarn and a backbone.rope_factor other than 1. Set it to null"
            )
        if self.rope_factor != 1.0:
            self._check_rope_scaling()

    def _check_rope_scaling(self) -> None:
        if not 0.0 < self.rope_factor < math.inf:
            raise InputError(f"backbone.rope_factor={self.rope_factor} must be positive")
        if self.rope_type == "linear":
            return
        if self.rope_original_block_size is None:
            raise InputError(
                f"backbone.rope_factor={self.rope_factor} needs backbone.rope_original_block_size: "
                "the context length before scaling, in tokens"
            )
        if not 0.0 < self.rope_low_freq_factor < self.rope_high_freq_factor < math.inf:
            raise InputError(
                f"backbone.rope_low_freq_factor={self.rope_low_freq_factor} must be positive, and "
                f"backbone.rope_high_freq_factor={self.rope_high_freq_factor} must be greater"
            )
        if self.rope_type == "yarn" and self.rope_theta <= 1.0:
            raise InputError(f"backbone.rope_theta={self.rope_theta} must be greater than 1 with rope_type=yarn")

    @property
    def head_width(self) -> int:
        """Channels of each head: ``head_dim``, or its default."""
        return self.head_dim or self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """Number of key/value heads: ``n_kv_head``, or its default."""
        return self.n_kv_head or self.n_head

    @property
    def depth(self) -> int:
        """Number of transformer blocks; in an encoder-decoder, that of its deeper side."""
        return max(self.n_layer, self.n_encoder_layer or 0)

    @property
    def attention_factor(self) -> float:
        """Factor of rotated queries and keys: ``rope_attention_factor``, or its default."""
        if self.rope_attention_factor is not None:
            return self.rope_attention_factor
        return 0.1 * math.log(self.rope_factor) + 1.0 if self.rope_type == "yarn" and self.rope_factor > 1.0 else 1.0

    @property
    def mlp_width(self) -> int:
        """Hidden channels of the MLP: ``n_inner``, or its default."""
        if self.n_inner is not None:
            return self.n_inner
        if self.mlp in ("swiglu", "geglu"):
            return -(-8 * self.n_embd // 3 // 64) * 64
        return 4 * self.n_embd
