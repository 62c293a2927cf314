"""Qwen 2 and 2.5 (Yang et al. 2024, arXiv:2407.10671)."""

from typing import Any

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families.llama_like import LlamaLike, context_length, optional_window
from gpt_lightning.models.huggingface.options import Options


class Qwen2(LlamaLike):
    """Llama with biases for queries, keys and values."""

    model_type = "qwen2"
    title = "Qwen2"
    claims = LlamaLike.claims | {"bias": ("qkv",)}
    default_kv_heads = 32

    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields of ``GPTConfig``."""
        shape = super().read_shape(options)
        window = optional_window(options, first_layer=options.integer("max_window_layers", 28))
        return shape | {"bias": "qkv", "block_size": context_length(options, window)}

    def write_shape(self, config: GPTConfig) -> dict[str, Any]:
        """Return the entries of ``config.json``."""
        return super().write_shape(config) | {"sliding_window": None}
