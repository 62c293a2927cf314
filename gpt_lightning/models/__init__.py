"""Transformer backbone in plain PyTorch, without Lightning, data or tasks."""

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.kv_cache import KVCache

__all__ = ["GPT", "GPTConfig", "KVCache"]
