"""Common base class of Llama and of families that differ from it in a few options."""

from typing import Any, ClassVar, Final

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families.family import ANYTHING, ROTARY, SIZES, TRAINING, Claims, Family
from gpt_lightning.models.huggingface.families.rope_scaling import WRITERS, read_scaling, write_scaling
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
    rope_types: ClassVar[tuple[str, ...]] = ("default", *WRITERS)
    # Defaults of the configuration classes in transformers:
    default_kv_heads: ClassVar[int | None] = None
    """None means the number of query heads."""
    default_head_dim: ClassVar[int | None] = None
    default_theta: ClassVar[float] = 10_000.0
    default_eps: ClassVar[float] = 1e-6
    default_tie: ClassVar[bool] = False

    def layers(self, module: str) -> tuple[str, ...]:
        """Return the family's layers; queries, keys and values have one each."""
        return tuple(dict.fromkeys(layer.format(letter) for layer in super().layers(module) for letter in "qkv"))

    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields of ``GPTConfig`` that all these families share."""
        options.check_activation(self.activation_key, self.activations)
        check_layer_types(options)
        n_head, head_dim = options.count("num_attention_heads"), options.get("head_dim", self.default_head_dim)
        # transformers reads null as the number of query heads, and a missing entry as the default of the family.
        kv_heads = n_head if "num_key_value_heads" in options.content else self.default_kv_heads or n_head
        return {
            "block_size": options.count("max_position_embeddings"),
            "n_layer": options.count("num_hidden_layers"),
            "n_head": n_head,
            "n_kv_head": options.count("num_key_value_heads", kv_heads),
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
        """Return the entries of ``config.json`` that all these families share."""
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
        """Return the rotary fields from the entries of transformers 5 or of earlier versions."""
        parameters = options.get("rope_scaling") or options.get("rope_parameters") or {}
        if not isinstance(parameters, dict):
            raise options.error(f"rope_scaling={parameters!r}", "must be an object")
        if any(isinstance(value, dict) for value in parameters.values()):
            raise options.error(
                f"rope_parameters of {', '.join(parameters)}", "all layers must have the same rotary positions"
            )
        return self.read_rope(options, parameters, self.default_theta)

    def read_rope(self, options: Options, parameters: dict[str, Any], theta: float) -> dict[str, Any]:
        """Return the rotary fields that one object of ``rope_parameters`` describes."""
        if parameters.get("partial_rotary_factor", 1.0) != 1.0:
            raise options.error(
                f"partial_rotary_factor={parameters['partial_rotary_factor']!r}", "all channels must be rotary"
            )
        part = options.nested(parameters)
        result: dict[str, Any] = {"rope_theta": part.number("rope_theta", theta)}
        if result["rope_theta"] == 0.0:
            raise options.error("rope_theta=0", "must be greater than 0")
        kind = parameters.get("rope_type", parameters.get("type", "default"))
        if kind not in self.rope_types:
            raise options.error(f"rope_type={kind!r}", f"supported are {', '.join(self.rope_types)}")
        return result if kind == "default" else result | read_scaling(options, kind, parameters)

    def write_rotary(self, config: GPTConfig) -> dict[str, Any]:
        """Return the rotary entries of transformers 5 and of version 4, which ignores the new ones."""
        scaling = write_scaling(config)
        return {
            "rope_parameters": {"rope_type": "default", **scaling, "rope_theta": config.rope_theta},
            "rope_theta": config.rope_theta,
            "rope_scaling": scaling or None,
        }


def read_bias(options: Options, mlp_bias: bool = False) -> bool | str:
    """Return which linear layers have biases: all, those of attention, or none.

    Args:
        options: the options, with ``attention_bias``.
        mlp_bias: True if the MLP has biases.
    """
    attention_bias = options.flag("attention_bias", False)
    if mlp_bias and not attention_bias:
        raise options.error("mlp_bias=True and attention_bias=False", "biases in the MLP need biases in attention")
    return mlp_bias or ("attention" if attention_bias else False)


def check_layer_types(options: Options) -> None:
    """Refuse unsupported types of layers."""
    layers = options.get("layer_types", [])
    if not isinstance(layers, list):
        raise options.error(f"layer_types={layers!r}", "must be a list")
    if unknown := sorted(set(map(str, layers)) - {"full_attention", "sliding_attention"}):
        raise options.error(f"layer_types of {', '.join(unknown)}", "all layers must attend to all earlier tokens")


def context_length(options: Options, window: Any) -> int:
    """Return the context length: ``max_position_embeddings``, or the sliding window if it is shorter.

    Within the window, its attention equals full attention.

    Args:
        options: the options; a shorter window is added to their notes.
        window: the value of ``sliding_window``; None is no window.
    """
    block_size = options.count("max_position_embeddings")
    if window is None or options.count("sliding_window", window) >= block_size:
        return block_size
    options.notes.append(
        f"{options.path}: the context is {window} tokens, the sliding window of the model, not the {block_size} of "
        "max_position_embeddings, because sliding windows are not supported"
    )
    return int(window)


def optional_window(options: Options, default: int | None = 4096, first_layer: int = 0) -> Any:
    """Return the window of a family with the option ``use_sliding_window``; None if no layer has it.

    Args:
        options: the options.
        default: window if there is no ``sliding_window``.
        first_layer: first layer with the window if there is no ``layer_types``.
    """
    layers = options.get("layer_types")
    slides = "sliding_attention" in layers if layers else first_layer < options.count("num_hidden_layers")
    return (
        options.content.get("sliding_window", default) if slides and options.flag("use_sliding_window", False) else None
    )
