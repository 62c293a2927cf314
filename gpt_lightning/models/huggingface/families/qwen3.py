"""Qwen 3 (Yang et al. 2025, arXiv:2505.09388)."""

from typing import Any

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families.llama_like import LlamaLike, context_length, optional_window, read_bias
from gpt_lightning.models.huggingface.options import Options


class Qwen3(LlamaLike):
    """Llama with norms of the queries and keys of each head."""

    model_type = "qwen3"
    title = "Qwen3"
    claims = LlamaLike.claims | {"bias": (False, "attention"), "qk_norm": (True,)}
    default_kv_heads = 32
    default_head_dim = 128

    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields of ``GPTConfig``."""
        shape = super().read_shape(options)
        window = optional_window(options, first_layer=options.integer("max_window_layers", 28))
        own = {"bias": read_bias(options), "qk_norm": True}
        return shape | own | {"block_size": context_length(options, window)}

    def write_shape(self, config: GPTConfig) -> dict[str, Any]:
        """Return the entries of ``config.json``."""
        return super().write_shape(config) | {"attention_bias": bool(config.bias), "sliding_window": None}
