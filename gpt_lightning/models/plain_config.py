"""Configuration of the backbone from plain values of a file, and the number of weights that it describes."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.plain_types import has_type


def backbone_config(values: Any, where: str, remedy: str) -> GPTConfig:
    """Return the configuration with the fields ``values``.

    Args:
        values: value from a file, which should be a mapping.
        where: file and key, for errors.
        remedy: advice for errors, as a sentence without its period.

    Raises:
        InputError: a field is unknown, has a value of the wrong type, or is out of range, or ``vocab_size`` is missing.
    """
    hints = get_type_hints(GPTConfig)
    names = {field.name for field in fields(GPTConfig)}
    if not isinstance(values, Mapping) or not values.get("vocab_size"):
        raise InputError(f"{where}.vocab_size is missing. {remedy}")
    for name, value in values.items():
        if name not in names or not has_type(value, hints[name]):
            raise InputError(f"{where}.{str(name)[:50]}={repr(value)[:50]} is invalid. {remedy}")
    try:
        return GPTConfig(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def min_num_weights(config: GPTConfig) -> int:
    """Return a lower bound of the number of weights of a backbone, within a factor of four for usual shapes."""
    assert config.vocab_size is not None
    n_layer = config.n_layer + (config.n_encoder_layer or 0)
    rows = config.vocab_size + n_layer * (config.mlp_width + config.n_head * config.head_width)
    if config.position == "learned":
        rows += config.block_size
    return rows * config.n_embd
