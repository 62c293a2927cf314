"""Gemma 3, text-only models (Gemma team 2025, arXiv:2503.19786)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families.family import ANYTHING
from gpt_lightning.models.huggingface.families.llama_like import NAMES, LlamaLike, context_length, read_bias
from gpt_lightning.models.huggingface.families.rope_scaling import write_scaling
from gpt_lightning.models.huggingface.heads import (
    CAUSAL_LM,
    SEQUENCE_CLASSIFICATION,
    SEQUENCE_REGRESSION,
    HuggingFaceHead,
)
from gpt_lightning.models.huggingface.options import Options

_LOCAL, _GLOBAL = "sliding_attention", "full_attention"


class Gemma3(LlamaLike):
    """Llama with scaled embeddings, zero-centered norms before and after attention and MLP, GeGLU and two rotary bases.

    The sliding-window attention of local layers is not supported, so the context is at most the window.
    """

    model_type = "gemma3_text"
    title = "Gemma3"
    names = NAMES | {
        "post_norm_1": "post_attention_layernorm",
        "norm_2": "pre_feedforward_layernorm",
        "post_norm_2": "post_feedforward_layernorm",
    }
    heads = (CAUSAL_LM, SEQUENCE_REGRESSION, SEQUENCE_CLASSIFICATION)
    architectures: ClassVar[Mapping[HuggingFaceHead | None, str]] = {
        None: "Gemma3TextModel",
        SEQUENCE_REGRESSION: "Gemma3TextForSequenceClassification",
        SEQUENCE_CLASSIFICATION: "Gemma3TextForSequenceClassification",
    }
    claims = LlamaLike.claims | {
        "bias": (False, "attention"),
        "logit_softcap": ANYTHING,
        "mlp": ("geglu",),
        "norm": ("rmsnorm_zero_centered",),
        "norm_placement": ("both",),
        "qk_norm": (True,),
        "query_pre_attn_scalar": ANYTHING,
        "rope_global_interval": ANYTHING,
        "rope_local_theta": ANYTHING,
        "scale_embeddings": (True,),
    }
    supported_options = ("final_logit_softcapping",)
    activation_key = "hidden_activation"
    activations = ("gelu_pytorch_tanh",)
    default_kv_heads = 4
    default_head_dim = 256
    default_theta = 1e6
    default_tie = True

    def broken_rules(self, config: GPTConfig) -> list[str]:
        """Return the rule that Gemma 3's configuration class enforces, even with ``head_dim``."""
        return ["needs n_embd to be a multiple of n_head"] if config.n_embd % config.n_head else []

    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields of ``GPTConfig``."""
        softcap = options.number("final_logit_softcapping", 0.0)
        shape, interval = super().read_shape(options), _read_interval(options)
        window = None if interval is None else options.content.get("sliding_window", 4096)
        return shape | {
            "bias": read_bias(options),
            "block_size": context_length(options, window),
            "logit_softcap": softcap or None,
            "mlp": "geglu",
            "norm": "rmsnorm_zero_centered",
            "norm_placement": "both",
            "qk_norm": True,
            "query_pre_attn_scalar": options.count("query_pre_attn_scalar", 256),
            "rope_global_interval": interval,
            "scale_embeddings": True,
        }

    def write_shape(self, config: GPTConfig) -> dict[str, Any]:
        """Return the entries of ``config.json``."""
        interval = config.rope_global_interval
        layers = [interval is None or (layer + 1) % interval == 0 for layer in range(config.n_layer)]
        return super().write_shape(config) | {
            "attention_bias": bool(config.bias),
            "final_logit_softcapping": config.logit_softcap,
            "query_pre_attn_scalar": config.query_pre_attn_scalar or config.head_width,
            "layer_types": [_GLOBAL if is_global else _LOCAL for is_global in layers],
            "sliding_window": config.block_size,
        }

    def read_rotary(self, options: Options) -> dict[str, Any]:
        """Return both rotary bases from the entries of transformers 5 or of earlier versions."""
        given = options.get("rope_parameters", {})
        if not isinstance(given, dict) or not all(isinstance(value, dict) for value in given.values()):
            raise options.error(f"rope_parameters={given!r}", "must have an object for each type of layer")
        scaling = options.get("rope_scaling", {})
        if not isinstance(scaling, dict):
            raise options.error(f"rope_scaling={scaling!r}", "must be an object")
        full = {"rope_theta": options.get("rope_theta", self.default_theta)} | given.get(_GLOBAL, {}) | scaling
        local = {"rope_theta": options.get("rope_local_base_freq", 10_000.0)}
        local_rope = self.read_rope(options, local | given.get(_LOCAL, {}), 10_000.0)
        if local_rope.get("rope_factor", 1.0) != 1.0:
            raise options.error(f"RoPE scaling of {_LOCAL}", "only layers with full attention may have it")
        local_theta = local_rope["rope_theta"]
        result = self.read_rope(options, full, self.default_theta)
        return result | {"rope_local_theta": local_theta}

    def write_rotary(self, config: GPTConfig) -> dict[str, Any]:
        """Return both rotary bases as entries for transformers 5 and for earlier versions."""
        scaling = write_scaling(config)
        return {
            "rope_parameters": {
                _GLOBAL: {"rope_type": "default", **scaling, "rope_theta": config.rope_theta},
                _LOCAL: {"rope_type": "default", "rope_theta": config.rope_local_theta},
            },
            "rope_theta": config.rope_theta,
            "rope_scaling": scaling or None,
            "rope_local_base_freq": config.rope_local_theta,
        }


def _read_interval(options: Options) -> int | None:
    """Return the interval between global layers, or None if all are global.

    Raises:
        InputError: the intervals differ.
    """
    n_layer, interval = options.count("num_hidden_layers"), options.count("sliding_window_pattern", 6)
    layers = options.get("layer_types", [_LOCAL if (layer + 1) % interval else _GLOBAL for layer in range(n_layer)])
    if len(layers) != n_layer:
        raise options.error(f"layer_types={layers!r}", "must have a type for each layer")
    if _LOCAL not in layers:
        return None
    interval = layers.index(_GLOBAL) + 1 if _GLOBAL in layers else n_layer + 1
    if layers != [_LOCAL if (layer + 1) % interval else _GLOBAL for layer in range(n_layer)]:
        raise options.error(f"layer_types={layers!r}", "global layers must have equal intervals")
    return interval
