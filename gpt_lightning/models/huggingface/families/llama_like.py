"""The common part of Llama and the families that differ from it in a few options."""

from typing import Any, ClassVar, Final

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families.family import ANYTHING, ROTARY, SIZES, TRAINING, Claims, Family
from gpt_lightning.models.huggingface.options import Options

NAMES: Final = {
    "token_embedding": "embed_tokens",
    "norm": "norm",
    "blocks": "layers",
    "norm_1": "input_layernorm",
    "norm_2": "post_attention_layernorm",
    "attention.qkv": "self_attn.{}_proj",
    "attention.proj": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.proj": "mlp.down_proj",
}


class LlamaLike(Family):
    """Rotary positions, RMSNorm and SwiGLU (Touvron et al. 2023, arXiv:2302.13971)."""

    names = NAMES
    claims: ClassVar[Claims] = {
        **SIZES,
        **TRAINING,
        **ROTARY,
        "n_kv_head": ANYTHING,
        "head_dim": ANYTHING,
        "position": ("rotary",),
        "norm": ("rmsnorm",),
        "mlp": ("swiglu",),
        "bias": (False,),
    }
    activation_key: ClassVar[str] = "hidden_act"
    activations: ClassVar[tuple[str, ...]] = ("silu", "swish")
    rope_types: ClassVar[tuple[str, ...]] = ("default", "llama3")
    # The defaults of transformers' configurations.
    default_kv_heads: ClassVar[int | None] = None
    """None means as many as query heads."""
    default_head_dim: ClassVar[int | None] = None
    default_theta: ClassVar[float] = 10_000.0
    default_eps: ClassVar[float] = 1e-6
    default_tie: ClassVar[bool] = False

    def layers(self, module: str) -> tuple[str, ...]:
        """Return the family's layers; queries, keys and values have one each."""
        return tuple(dict.fromkeys(layer.format(letter) for layer in super().layers(module) for letter in "qkv"))

    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields that all these families have."""
        options.check_activation(self.activation_key, self.activations)
        check_layer_types(options)
        n_head, head_dim = options.count("num_attention_heads"), options.get("head_dim", self.default_head_dim)
        return {
            "block_size": options.count("max_position_embeddings"),
            "n_layer": options.count("num_hidden_layers"),
            "n_head": n_head,
            "n_kv_head": options.count("num_key_value_heads", self.default_kv_heads or n_head),
            "head_dim": None if head_dim is None else options.count("head_dim", head_dim),
            "n_embd": options.count("hidden_size"),
            "n_inner": options.count("intermediate_size"),
            "position": "rotary",
            **self.read_rotary(options),
            "norm": "rmsnorm",
            "norm_eps": options.number("rms_norm_eps", self.default_eps),
            "mlp": "swiglu",
            "bias": False,
            "tie_embeddings": options.flag("tie_word_embeddings", self.default_tie),
            "attention_dropout": options.number("attention_dropout", 0.0),
        }

    def write_shape(self, config: GPTConfig) -> dict[str, Any]:
        """Return the entries that all these families have."""
        return {
            "max_position_embeddings": config.block_size,
            "num_hidden_layers": config.n_layer,
            "num_attention_heads": config.n_head,
            "num_key_value_heads": config.kv_heads,
            "head_dim": config.head_width,
            "hidden_size": config.n_embd,
            "intermediate_size": config.mlp_width,
            self.activation_key: self.activations[0],
            "rms_norm_eps": config.norm_eps,
            "attention_dropout": config.attention_dropout,
            **self.write_rotary(config),
        }

    def read_rotary(self, options: Options) -> dict[str, Any]:
        """Return the rotary positions, as transformers 5 or earlier versions write them."""
        parameters = options.get("rope_scaling") or options.get("rope_parameters") or {}
        if not isinstance(parameters, dict):
            raise options.refuse(f"rope_scaling={parameters!r}", "must be an object")
        if any(isinstance(value, dict) for value in parameters.values()):
            raise options.refuse(f"rope_parameters of {', '.join(parameters)}", "all layers must turn alike")
        return self.read_rope(options, parameters, self.default_theta)

    def read_rope(self, options: Options, parameters: dict[str, Any], theta: float) -> dict[str, Any]:
        """Return the rotary positions that one set of ``rope_parameters`` describes."""
        if parameters.get("partial_rotary_factor", 1.0) != 1.0:
            raise options.refuse(
                f"partial_rotary_factor={parameters['partial_rotary_factor']!r}", "all channels must turn"
            )
        part = options.inside(parameters)
        result: dict[str, Any] = {"rope_theta": part.number("rope_theta", theta)}
        if result["rope_theta"] == 0.0:
            raise options.refuse("rope_theta=0", "must be more than 0")
        kind = parameters.get("rope_type", parameters.get("type", "default"))
        if kind not in self.rope_types:
            raise options.refuse(f"rope_type={kind!r}", f"known are {', '.join(self.rope_types)}")
        if kind == "default":
            return result
        for key in ("factor", "low_freq_factor", "high_freq_factor"):
            if key not in parameters:
                raise options.refuse(f"rope_type='llama3' and no {key}", "the positions are not known without it")
            result[f"rope_{key}"] = part.number(key, 1.0)
        outside = options.get("original_max_position_embeddings")
        source, block_size = options if outside is not None else part, options.count("max_position_embeddings")
        return result | {"rope_original_block_size": source.count("original_max_position_embeddings", block_size)}

    def write_rotary(self, config: GPTConfig) -> dict[str, Any]:
        """Return the rotary positions in both spellings, since transformers 4 ignores that of version 5."""
        parameters: dict[str, Any] = {"rope_type": "default"}
        if config.rope_factor != 1.0:
            parameters = {
                "rope_type": "llama3",
                "factor": config.rope_factor,
                "low_freq_factor": config.rope_low_freq_factor,
                "high_freq_factor": config.rope_high_freq_factor,
                "original_max_position_embeddings": config.rope_original_block_size,
            }
        return {
            "rope_parameters": parameters | {"rope_theta": config.rope_theta},
            "rope_theta": config.rope_theta,
            "rope_scaling": None if config.rope_factor == 1.0 else parameters,
        }


def read_bias(options: Options, mlp_bias: bool = False) -> bool | str:
    """Return which linear layers have biases: all, those of attention, or none.

    Args:
        options: with ``attention_bias``.
        mlp_bias: whether the MLP has biases.
    """
    attention_bias = options.flag("attention_bias", False)
    if mlp_bias and not attention_bias:
        raise options.refuse("mlp_bias=True and attention_bias=False", "an MLP has biases only where attention has")
    return mlp_bias or ("attention" if attention_bias else False)


def check_layer_types(options: Options) -> None:
    """Refuse kinds of layers that are unknown here."""
    layers = options.get("layer_types", [])
    if not isinstance(layers, list):
        raise options.refuse(f"layer_types={layers!r}", "must be a list")
    if unknown := sorted(set(map(str, layers)) - {"full_attention", "sliding_attention"}):
        raise options.refuse(f"layer_types of {', '.join(unknown)}", "every layer must attend to all before it")


def check_window(options: Options, window: Any) -> None:
    """Refuse a sliding window that does not always reach back to the first token; None is no window."""
    block_size = options.count("max_position_embeddings")
    if window is not None and options.count("sliding_window", window) < block_size:
        raise options.refuse(
            f"sliding_window={window} and max_position_embeddings={block_size}",
            "every layer must attend to all before it; lower max_position_embeddings to the window",
        )


def optional_window(options: Options) -> Any:
    """Return the window of a family that uses it only with ``use_sliding_window``; None if it does not."""
    layers = options.get("layer_types", [])
    slides = options.flag("use_sliding_window", False) and (not layers or "sliding_attention" in layers)
    return options.content.get("sliding_window", 4096) if slides else None
