"""The transformer in plain torch: no Lightning, no data, no tasks."""

from gpt_lightning.models.cache import KVCache
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.gpt import GPT

__all__ = ["GPT", "GPTConfig", "KVCache"]
