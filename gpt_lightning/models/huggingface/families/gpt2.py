"""GPT-2 (Radford et al. 2019)."""

from collections.abc import Mapping
from itertools import chain
from typing import Any, ClassVar, Final

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families.family import ANYTHING, ROTARY, SIZES, TRAINING, Claims, Family
from gpt_lightning.models.huggingface.heads import CAUSAL_LM, TOKEN_CLASSIFICATION, HuggingFaceHead
from gpt_lightning.models.huggingface.options import Options

_NAMES: Final = {
    "token_embedding": "wte",
    "position_embedding": "wpe",
    "norm": "ln_f",
    "blocks": "h",
    "norm_1": "ln_1",
    "norm_2": "ln_2",
    "attention.qkv": "attn.c_attn",
    "attention.proj": "attn.c_proj",
    "mlp.up": "mlp.c_fc",
    "mlp.proj": "mlp.c_proj",
}

_ACTIVATIONS: Final = {"gelu": ("gelu_new", "gelu_pytorch_tanh"), "gelu_exact": ("gelu",)}
"""Values of ``mlp`` -> names of the same function in ``config.json``, the first of which is written."""


class GPT2(Family):
    """Learned positions, LayerNorm and GELU: the defaults of ``GPTConfig``, or the exact GELU (Cerebras-GPT)."""

    model_type = "gpt2"
    title = "GPT2"
    names = _NAMES
    claims: ClassVar[Claims] = {
        **SIZES,
        **TRAINING,
        "mlp": tuple(_ACTIVATIONS),
        # These fields have no effect on learned positions.
        **ROTARY,
        "nope_interval": ANYTHING,
        # Only values equal to n_head and n_embd / n_head are supported: see ``broken_rules``.
        "n_kv_head": ANYTHING,
        "head_dim": ANYTHING,
    }
    architectures: ClassVar[Mapping[HuggingFaceHead | None, str]] = {CAUSAL_LM: "GPT2LMHeadModel"}
    head_modules: ClassVar[Mapping[HuggingFaceHead, str]] = {TOKEN_CLASSIFICATION: "classifier"}
    prefix = "transformer."
    prefixes: ClassVar[Mapping[HuggingFaceHead, str]] = {}
    transposes_linears = True

    def broken_rules(self, config: GPTConfig) -> list[str]:
        """Return the fields of attention that GPT-2 does not support."""
        rules = {
            f"has no n_kv_head={config.n_kv_head}": config.kv_heads == config.n_head,
            f"has no head_dim={config.head_dim}": config.n_head * config.head_width == config.n_embd,
        }
        return [reason for reason, holds in rules.items() if not holds]

    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields of ``GPTConfig``."""
        options.check_activation("activation_function", tuple(chain.from_iterable(_ACTIVATIONS.values())))
        activation = options.get("activation_function", "gelu_new")
        return {
            "block_size": options.count("n_positions"),
            "n_layer": options.count("n_layer"),
            "n_head": options.count("n_head"),
            "n_embd": options.count("n_embd"),
            "n_inner": options.count("n_inner", 4 * options.count("n_embd")),
            "mlp": next(mlp for mlp, names in _ACTIVATIONS.items() if activation in names),
            "norm_eps": options.number("layer_norm_epsilon", 1e-5),
            "tie_embeddings": options.flag("tie_word_embeddings", True),
            "dropout": options.number("resid_pdrop", 0.1),
            "attention_dropout": options.number("attn_pdrop", 0.1),
        }

    def write_shape(self, config: GPTConfig) -> dict[str, Any]:
        """Return the entries of ``config.json``."""
        return {
            "n_positions": config.block_size,
            "n_layer": config.n_layer,
            "n_head": config.n_head,
            "n_embd": config.n_embd,
            "n_inner": config.mlp_width,
            "activation_function": _ACTIVATIONS[config.mlp][0],
            "layer_norm_epsilon": config.norm_eps,
            "resid_pdrop": config.dropout,
            "embd_pdrop": config.dropout,
            "attn_pdrop": config.attention_dropout,
        }
