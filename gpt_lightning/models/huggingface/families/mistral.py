"""Mistral (Jiang et al. 2023, arXiv:2310.06825)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families.llama_like import LlamaLike, context_length
from gpt_lightning.models.huggingface.heads import HuggingFaceHead
from gpt_lightning.models.huggingface.options import Options


class Mistral(LlamaLike):
    """Llama without biases, with any number of channels per head."""

    model_type = "mistral"
    title = "Mistral"
    prefixes: ClassVar[Mapping[HuggingFaceHead, str]] = {}
    default_kv_heads = 8

    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields of ``GPTConfig``."""
        window = options.content.get("sliding_window", 4096)
        return super().read_shape(options) | {"block_size": context_length(options, window)}

    def write_shape(self, config: GPTConfig) -> dict[str, Any]:
        """Return the entries of ``config.json``."""
        return super().write_shape(config) | {"sliding_window": None}
