"""Qwen 2 and 2.5 (Yang et al. 2024, arXiv:2407.10671)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families.llama_like import LlamaLike, context_length, optional_window
from gpt_lightning.models.huggingface.options import Options

_PATTERN: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Regular expression that splits text into words, in the published tokenizers of the family."""


class Qwen2(LlamaLike):
    """Llama with biases for queries, keys and values."""

    model_type = "qwen2"
    title = "Qwen2"
    claims = LlamaLike.claims | {"bias": ("qkv",)}
    default_kv_heads = 32
    tokenizer_parts: ClassVar[Mapping[str, Any]] = {
        "model": {"unk_token": None, "byte_fallback": False, "fuse_unk": False},
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": _PATTERN}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
    }

    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields of ``GPTConfig``."""
        shape = super().read_shape(options)
        window = optional_window(options, first_layer=options.integer("max_window_layers", 28))
        return shape | {"bias": "qkv", "block_size": context_length(options, window)}

    def write_shape(self, config: GPTConfig) -> dict[str, Any]:
        """Return the entries of ``config.json``."""
        return super().write_shape(config) | {"sliding_window": None}
