"""Generation settings of a published model: ``generation_config.json``, and the token ids in ``config.json``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.bounded_files import read_json_object
from gpt_lightning.errors import InputError

GENERATION_CONFIG: Final = "generation_config.json"
_MODEL_CONFIG: Final = "config.json"
_MAX_BYTES: Final = 2**20
"""Size limit of a file, far above that of any published one. Checkpoints contain its content."""
_BEAM_SEARCH: Final = ("num_beams", "length_penalty")
_DECODING: Final = (
    *_BEAM_SEARCH,
    *("repetition_penalty", "no_repeat_ngram_size", "min_new_tokens", "min_length", "max_new_tokens"),
)
_DISABLED: Final = {
    **{"top_k": 0, "top_p": 1.0, "num_beams": 1, "length_penalty": 1.0},
    **{"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_new_tokens": 0, "min_length": 0},
    "early_stopping": False,
}
"""Values that turn a setting off."""
_IGNORED: Final[dict[str, Any]] = {
    **{"min_p": 0.0, "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "top_h": 1.0},
    **{"num_beam_groups": 1, "diversity_penalty": 0.0, "penalty_alpha": 0.0, "guidance_scale": 1.0},
    **{"encoder_repetition_penalty": 1.0, "encoder_no_repeat_ngram_size": 0},
    **dict.fromkeys(("suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "force_words_ids", "constraints")),
    **dict.fromkeys(("sequence_bias", "exponential_decay_length_penalty", "dola_layers")),
    **dict.fromkeys(("max_length", "stop_strings", "watermarking_config")),
}
"""Settings of transformers that change the text, but have no counterpart here, with the values that turn them off."""
_TOKEN_IDS: Final = ("bos_token_id", "eos_token_id")


def load_generation_config(folder: Path) -> dict[str, Any]:
    """Return the content of ``generation_config.json``, with the token ids of ``config.json`` where it has none.

    Args:
        folder: model folder; missing files are empty.

    Raises:
        InputError: a file is damaged.
    """
    return generation_ids(_read(folder / _MODEL_CONFIG)) | _read(folder / GENERATION_CONFIG)


def save_generation_config(config: Mapping[str, Any], folder: Path) -> None:
    """Write ``generation_config.json`` into a folder atomically."""
    with atomic_write(folder / GENERATION_CONFIG) as file:
        file.write(json.dumps(dict(config), indent=2).encode() + b"\n")


def generation_ids(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ids of the tokens that start and end texts, each an id, a list or null, which the setting may lack."""
    return {name: config[name] for name in _TOKEN_IDS if name in config}


def token_ids(config: Mapping[str, Any], name: str) -> list[int]:
    """Return the token ids of a setting, which is an id, a list of ids, or null.

    Args:
        config: content of a ``generation_config.json``.
        name: name of the setting, such as ``eos_token_id``.
    """
    value = config.get(name)
    return [each for each in (value if isinstance(value, list) else [value]) if type(each) is int and each >= 0]


def decoding_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the decoding settings that transformers' ``generate`` takes from a configuration, by name.

    Sampling settings count only with ``do_sample``. With it, transformers samples from the 50 most probable tokens
    unless the configuration has another ``top_k``. Values that turn a setting off are left out. Beam search with
    sampling is not supported, so only sampling is kept then. ``ignored_settings`` returns what else is left out.

    Args:
        config: content of a ``generation_config.json``.

    Raises:
        InputError: a value is not a number.
    """
    names: Sequence[str] = _DECODING
    sampling: dict[str, Any] = {}
    if config.get("do_sample") is True:
        names = tuple(name for name in names if name not in _BEAM_SEARCH)
        sampling = {"temperature": 1.0, "top_k": 50} | _numbers(config, ("temperature", "top_k", "top_p"))
    values = sampling | _numbers(config, names)
    if config.get("early_stopping") is True and config.get("do_sample") is not True:
        values["early_stopping"] = True
    return {name: value for name, value in values.items() if value != _DISABLED.get(name)}


def ignored_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that ``generate`` of transformers follows, but which have no effect here.

    Args:
        config: content of a ``generation_config.json``.
    """
    found = {name: config[name] for name, off in _IGNORED.items() if config.get(name) not in (None, off, [])}
    if config.get("early_stopping") not in (None, True, False):
        found["early_stopping"] = config["early_stopping"]
    if config.get("do_sample") is True and config.get("num_beams") not in (None, 1):
        found["num_beams"] = config["num_beams"]
    return found


def _numbers(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    values = {name: config[name] for name in names if config.get(name) is not None}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{GENERATION_CONFIG}: {name}={value!r} is not a number. Fix the file")
    return values


def _read(path: Path) -> dict[str, Any]:
    return read_json_object(path, "Download it again", _MAX_BYTES) if path.exists() else {}
