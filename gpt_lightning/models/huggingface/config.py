"""Hugging Face's ``config.json`` -> the shape of a backbone; what we have no equal of is refused by name."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.names import FAMILIES, TASKS, Family, TaskName

_NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {
    "add_cross_attention": (False,),
    "attention_multiplier": (),
    "attn_logit_softcapping": (),
    "clip_qkv": (),
    "compression_config": (),
    "embedding_multiplier": (1.0,),
    "final_logit_softcapping": (),
    "is_encoder_decoder": (False,),
    "logit_scale": (1.0,),
    "logits_scaling": (1.0,),
    "n_routed_experts": (0,),
    "num_experts": (0,),
    "num_local_experts": (0, 1),
    "partial_rotary_factor": (1.0,),
    "pruned_heads": ({},),
    "quantization_config": (),
    "reorder_and_upcast_attn": (False,),
    "residual_multiplier": (1.0,),
    "rope_interleaved": (False,),
    "rotary_pct": (1.0,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "scale_attn_weights": (True,),
    "use_bidirectional_attention": (False,),
}
"""Option -> the values, beside null, with which it changes nothing."""

_NUM_KV_HEADS: Final = {"llama": None, "mistral": 8, "qwen2": 32, "qwen3": 32, "smollm3": 4}
"""What key/value heads are where ``config.json`` does not say: the defaults of Hugging Face's classes."""


class Options:
    """What ``config.json`` says, by key; errors name the file, the family and the key."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path = path
        self.content = content
        if content.get("auto_map"):
            raise InputError(f"{path}: auto_map asks for code of its own to be run, which is never done")
        self.model_type = content.get("model_type")
        if self.model_type not in list(FAMILIES):  # it may be anything, also what has no hash
            raise InputError(f"{path}: model_type={self.model_type!r} is none of {', '.join(FAMILIES)}")
        self.family: Family = FAMILIES[str(self.model_type)]

    def refuse(self, option: str, why: str) -> InputError:
        """The error of ``option``."""
        return InputError(f"{self.path}: {self.family.title} with {option}: {why}")

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number of at least 1."""
        value = self._given(key, default)
        if value is None:
            raise self.refuse(f"no {key}", "the shape is not known without it")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.refuse(f"{key}={value!r}", "must be a whole number of at least 1")
        return value

    def number(self, key: str, default: float) -> float:
        """A finite number of at least 0."""
        value = self._given(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 <= value <= sys.float_info.max:
            raise self.refuse(f"{key}={value!r}", "must be a number of at least 0")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._given(key, default)
        if not isinstance(value, bool):
            raise self.refuse(f"{key}={value!r}", "must be true or false")
        return value

    def inside(self, part: Mapping[str, Any]) -> "Options":
        """The options of a part, with those around it where it has none of its own."""
        return Options(self.path, {**self.content, **part})

    def _given(self, key: str, default: Any) -> Any:
        value = self.content.get(key)
        return default if value is None else value


def read_shape(options: Options) -> GPTConfig:
    """The backbone that ``config.json`` describes.

    Raises:
        InputError: we have no such backbone.
    """
    for key, neutral in _NEUTRAL.items():
        value = options.content.get(key)
        if value is not None and value not in neutral:
            raise options.refuse(f"{key}={value!r}", "there is no such option here")
    fields = _gpt2(options) if options.model_type == "gpt2" else _llama(options)
    try:
        return GPTConfig(vocab_size=options.count("vocab_size"), **fields)
    except InputError as error:
        raise InputError(f"{options.path}: {error}") from None


def read_task(options: Options) -> TaskName | None:
    """The task that ``architectures`` names; None for a backbone alone.

    Raises:
        InputError: it names something else.
    """
    named = options.content.get("architectures") or [options.family.architecture(None)]
    known: dict[str, TaskName | None] = {options.family.architecture(task): task for task in (*TASKS, None)}
    if not isinstance(named, list) or len(named) != 1 or named[0] not in list(known):
        raise options.refuse(f"architectures={named!r}", f"known are {', '.join(known)}")
    return known[named[0]]


def read_labels(options: Options) -> list[str]:
    """The labels' names in the order of the head's outputs.

    Raises:
        InputError: they have no such order, or share names.
    """
    names = options.content.get("id2label")
    if names is None:
        return [f"LABEL_{number}" for number in range(options.count("num_labels", 2))]
    if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))):
        raise options.refuse(f"id2label={str(names)[:200]}", "its keys must be 0, 1, 2 and so on")
    labels = [names[str(number)] for number in range(len(names))]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
        raise options.refuse(f"id2label={str(names)[:200]}", "the labels must be strings, each another")
    return labels


def is_multi_label(options: Options) -> bool:
    """Whether a text may have several labels.

    Raises:
        InputError: the head gives numbers, not labels.
    """
    kind = options.content.get("problem_type")
    if kind not in (None, "single_label_classification", "multi_label_classification"):
        raise options.refuse(f"problem_type={kind!r}", "only labels can be told, one of several or each by itself")
    return kind == "multi_label_classification"


# --- families


def _gpt2(options: Options) -> dict[str, Any]:
    _check_activation(options, "activation_function", "gelu_new", ("gelu_new", "gelu_pytorch_tanh"))
    return {
        "block_size": options.count("n_positions"),
        "n_layer": options.count("n_layer"),
        "n_head": options.count("n_head"),
        "n_embd": options.count("n_embd"),
        "n_inner": options.count("n_inner", 4 * options.count("n_embd")),
        "norm_eps": options.number("layer_norm_epsilon", 1e-5),
        "tie_embeddings": options.flag("tie_word_embeddings", True),
        "dropout": options.number("resid_pdrop", 0.1),
        "attention_dropout": options.number("attn_pdrop", 0.1),
    }


def _llama(options: Options) -> dict[str, Any]:
    """Llama and those that are Llama but for a few options."""
    model_type, is_smollm3 = options.model_type, options.model_type == "smollm3"
    _check_activation(options, "hidden_act", "silu", ("silu", "swish"))
    block_size, n_head = options.count("max_position_embeddings"), options.count("num_attention_heads")
    _check_window(options, block_size)
    head_dim = options.content.get("head_dim") or (128 if model_type == "qwen3" else None)
    return {
        "block_size": block_size,
        "n_layer": options.count("num_hidden_layers"),
        "n_head": n_head,
        "n_kv_head": options.count("num_key_value_heads", _NUM_KV_HEADS[str(model_type)] or n_head),
        "head_dim": None if head_dim is None else options.count("head_dim", head_dim),
        "n_embd": options.count("hidden_size"),
        "n_inner": options.count("intermediate_size"),
        "position": "rotary",
        **_rotary(options, block_size, 2e6 if is_smollm3 else 1e4),
        "nope_interval": _nope_interval(options) if is_smollm3 else None,
        "norm": "rmsnorm",
        "norm_eps": options.number("rms_norm_eps", 1e-6),
        "mlp": "swiglu",
        "bias": _bias(options),
        "qk_norm": model_type == "qwen3",
        "tie_embeddings": options.flag("tie_word_embeddings", is_smollm3),
        "attention_dropout": options.number("attention_dropout", 0.0),
    }


def _check_activation(options: Options, key: str, default: str, known: tuple[str, ...]) -> None:
    name = options.content.get(key) or default
    if name not in known:
        raise options.refuse(f"{key}={name!r}", f"known are {', '.join(known)}")


def _bias(options: Options) -> bool | str:
    """Which linear layers have biases."""
    if options.model_type == "mistral":
        return False
    if options.model_type == "qwen2":
        return "qkv"
    attention = options.flag("attention_bias", False)
    mlp = options.flag("mlp_bias", False) and options.model_type != "qwen3"
    if mlp and not attention:
        raise options.refuse("mlp_bias=True and attention_bias=False", "an MLP has biases only where attention has")
    return mlp or ("attention" if attention else False)


def _check_window(options: Options, block_size: int) -> None:
    """Refuse attention that does not reach back to the first token."""
    model_type, content = options.model_type, options.content
    layers = content.get("layer_types") or []
    if not isinstance(layers, list):
        raise options.refuse(f"layer_types={layers!r}", "must be a list")
    if unknown := sorted(set(map(str, layers)) - {"full_attention", "sliding_attention"}):
        raise options.refuse(f"layer_types of {', '.join(unknown)}", "every layer must attend to all before it")
    if model_type == "mistral":
        window = content.get("sliding_window", 4096)
    else:
        slides = model_type != "llama" and options.flag("use_sliding_window", False)
        slides = slides and (not layers or "sliding_attention" in layers)
        window = content.get("sliding_window", 4096) if slides else None
    if window is not None and options.count("sliding_window", window) < block_size:
        raise options.refuse(
            f"sliding_window={window} and max_position_embeddings={block_size}",
            "every layer must attend to all before it; lower max_position_embeddings to the window",
        )


def _rotary(options: Options, block_size: int, theta: float) -> dict[str, Any]:
    """Rotary positions, in the spelling of transformers 5 or the ones before."""
    parameters = options.content.get("rope_scaling") or options.content.get("rope_parameters") or {}
    if not isinstance(parameters, dict):
        raise options.refuse(f"rope_scaling={parameters!r}", "must be an object")
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if parameters.get("partial_rotary_factor", 1.0) != 1.0:
        raise options.refuse(f"partial_rotary_factor={parameters['partial_rotary_factor']!r}", "all channels must turn")
    if any(isinstance(value, dict) for value in parameters.values()):
        raise options.refuse(f"rope_parameters of {', '.join(parameters)}", "all layers must turn alike")
    part = options.inside(parameters)
    result: dict[str, Any] = {"rope_theta": part.number("rope_theta", theta)}
    if result["rope_theta"] == 0.0:
        raise options.refuse("rope_theta=0", "must be more than 0")
    if kind == "default":
        return result
    if kind != "llama3":
        raise options.refuse(f"rope_type={kind!r}", "known are default, llama3")
    for key in ("factor", "low_freq_factor", "high_freq_factor"):
        if key not in parameters:
            raise options.refuse(f"rope_type='llama3' and no {key}", "the positions are not known without it")
        result[f"rope_{key}"] = part.number(key, 1.0)
    outside = options.content.get("original_max_position_embeddings")
    original = options if outside is not None else part
    return result | {"rope_original_block_size": original.count("original_max_position_embeddings", block_size)}


def _nope_interval(options: Options) -> int | None:
    """Every how many layers one does without positions."""
    n_layer, interval = options.count("num_hidden_layers"), options.count("no_rope_layer_interval", 4)
    layers = options.content.get("no_rope_layers")
    if layers is None:
        return interval if interval <= n_layer else None
    if not isinstance(layers, list) or len(layers) < n_layer:
        raise options.refuse(f"no_rope_layers={layers!r}", "must have a 0 or a 1 for each layer")
    turning = [bool(each) for each in layers[:n_layer]]
    if all(turning):
        return None
    interval = turning.index(False) + 1
    if turning != [(layer + 1) % interval != 0 for layer in range(n_layer)]:
        raise options.refuse(f"no_rope_layers={layers!r}", "the layers without positions must be every so many")
    return interval
