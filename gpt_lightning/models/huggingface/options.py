"""Checked access to the values of a ``config.json``."""

import sys
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, Final

from gpt_lightning.errors import InputError

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
"""Options without an equivalent here -> the values that leave a model unchanged, in addition to null."""


class Options:
    """Content of a ``config.json``; errors name the file, the family and the key.

    Args:
        path: path of the file.
        title: name of the family, for errors.
        content: the JSON object.

    Attributes:
        notes: lines for the user about options that change how the model is used.

    Raises:
        InputError: the model needs code from its folder.
    """

    def __init__(self, path: Path, title: str, content: Mapping[str, Any]) -> None:
        self.path = path
        self.content = content
        self.notes: list[str] = []
        self._title = title
        if content.get("auto_map"):
            raise InputError(
                f"{path}: auto_map is not supported, because it runs code from the folder. "
                "Use a model that transformers loads without trust_remote_code"
            )

    def error(self, option: str, reason: str) -> InputError:
        """Return the error for an unsupported ``option``."""
        return InputError(f"{self.path}: {self._title} with {option}: {reason}")

    def get(self, key: str, default: Any = None) -> Any:
        """Return an unchecked value; null counts as missing."""
        value = self.content.get(key)
        return default if value is None else value

    def count(self, key: str, default: int | None = None) -> int:
        """Return an integer of at least 1."""
        value = self.get(key, default)
        if value is None:
            raise self.error(f"no {key}", "this entry is required")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.error(f"{key}={value!r}", "must be an integer of at least 1")
        return value

    def integer(self, key: str, default: int) -> int:
        """Return an integer of at least 0."""
        return 0 if self.content.get(key) == 0 else self.count(key, default)

    def number(self, key: str, default: float) -> float:
        """Return a finite number of at least 0."""
        value = self.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 <= value <= sys.float_info.max:
            raise self.error(f"{key}={value!r}", "must be a number of at least 0")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.error(f"{key}={value!r}", "must be true or false")
        return value

    def nested(self, part: Mapping[str, Any]) -> "Options":
        """Return the options of a nested object; keys that it lacks are taken from these options."""
        return Options(self.path, self._title, {**self.content, **part})

    def check_activation(self, key: str, supported: tuple[str, ...]) -> None:
        """Refuse activation functions other than those ``supported``; the first is the default."""
        name = self.get(key, supported[0])
        if name not in supported:
            raise self.error(f"{key}={name!r}", f"supported are {', '.join(supported)}")

    def check_neutral(self, supported: Container[str]) -> None:
        """Refuse options that change a model and have no equivalent here.

        Args:
            supported: options that the family reads itself.

        Raises:
            InputError: an option is unsupported.
        """
        for key, neutral in _NEUTRAL.items():
            value = self.content.get(key)
            if value is not None and key not in supported and value not in neutral:
                raise self.error(f"{key}={value!r}", "this option is not supported")
