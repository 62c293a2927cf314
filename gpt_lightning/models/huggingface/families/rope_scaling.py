"""RoPE scaling in ``config.json``, which transformers calls ``rope_scaling`` or ``rope_parameters``."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.options import Options


def read_scaling(options: Options, kind: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rotary fields of ``GPTConfig`` for one kind of RoPE scaling.

    Args:
        options: content of the file.
        kind: ``llama3``, ``linear`` or ``yarn``.
        parameters: the object with the scaling.

    Raises:
        InputError: an entry is missing, invalid or unsupported.
    """
    return {"rope_type": kind, **_READERS[kind](options, parameters)}


def write_scaling(config: GPTConfig) -> dict[str, Any]:
    """Return the entries of the RoPE scaling without ``rope_theta``; an empty mapping without scaling."""
    if config.rope_factor == 1.0:
        return {}
    return {"rope_type": config.rope_type, "factor": config.rope_factor, **WRITERS[config.rope_type](config)}


# --- readers


def _read_linear(options: Options, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"rope_factor": _required_number(options, "linear", parameters, "factor")}


def _read_llama3(options: Options, parameters: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("factor", "low_freq_factor", "high_freq_factor")
    numbers = {f"rope_{key}": _required_number(options, "llama3", parameters, key) for key in keys}
    return numbers | {"rope_original_block_size": _original_block_size(options, parameters)}


def _read_yarn(options: Options, parameters: Mapping[str, Any]) -> dict[str, Any]:
    if not parameters.get("truncate", True):
        raise options.error("truncate=false in its RoPE scaling", "this option is not supported")
    original = _original_block_size(options, parameters)
    factor = _number(options, parameters, "factor", options.count("max_position_embeddings") / original)
    attention_factor = _read_attention_factor(options, parameters, factor)
    return {
        "rope_factor": factor,
        # transformers reads 0 like a missing entry.
        "rope_low_freq_factor": _number(options, parameters, "beta_slow", 1.0) or 1.0,
        "rope_high_freq_factor": _number(options, parameters, "beta_fast", 32.0) or 32.0,
        "rope_original_block_size": original,
        "rope_attention_factor": None if factor == attention_factor == 1.0 else attention_factor,
    }


def _read_attention_factor(options: Options, parameters: Mapping[str, Any], factor: float) -> float | None:
    """Return the factor of queries and keys: explicit, or the ratio of DeepSeek's two ``mscale``; None by default."""
    if parameters.get("attention_factor") is not None:
        return _number(options, parameters, "attention_factor", 1.0)
    scales = [_number(options, parameters, key, 0.0) for key in ("mscale", "mscale_all_dim")]
    if not all(scales):
        return None
    own, all_dim = (0.1 * scale * math.log(factor) + 1.0 if factor > 1.0 else 1.0 for scale in scales)
    return own / all_dim


def _original_block_size(options: Options, parameters: Mapping[str, Any]) -> int:
    """Return the context length of pretraining; an entry outside of the scaling comes first, as in transformers."""
    is_outside = options.get("original_max_position_embeddings") is not None
    source = options if is_outside else options.nested(parameters)
    return source.count("original_max_position_embeddings", options.count("max_position_embeddings"))


def _required_number(options: Options, kind: str, parameters: Mapping[str, Any], key: str) -> float:
    if parameters.get(key) is None:
        raise options.error(f"rope_type={kind!r} and no {key}", "this entry is required")
    return _number(options, parameters, key, 1.0)


def _number(options: Options, parameters: Mapping[str, Any], key: str, default: float) -> float:
    return options.nested({key: parameters.get(key)}).number(key, default)


_READERS: Final = {"llama3": _read_llama3, "linear": _read_linear, "yarn": _read_yarn}


# --- writers


def _write_linear(_: GPTConfig) -> dict[str, Any]:
    return {}


def _write_llama3(config: GPTConfig) -> dict[str, Any]:
    return {
        "low_freq_factor": config.rope_low_freq_factor,
        "high_freq_factor": config.rope_high_freq_factor,
        "original_max_position_embeddings": config.rope_original_block_size,
    }


def _write_yarn(config: GPTConfig) -> dict[str, Any]:
    return {
        "beta_slow": config.rope_low_freq_factor,
        "beta_fast": config.rope_high_freq_factor,
        "original_max_position_embeddings": config.rope_original_block_size,
        "attention_factor": config.attention_factor,
    }


WRITERS: Final[Mapping[str, Callable[[GPTConfig], dict[str, Any]]]] = {
    "llama3": _write_llama3,
    "linear": _write_linear,
    "yarn": _write_yarn,
}
"""Kinds of RoPE scaling -> their entries in ``config.json``, without kind and factor."""
