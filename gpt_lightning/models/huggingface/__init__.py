"""Model folders that both Hugging Face's classes and ours read: a configuration and safetensors, no code.

``config.json`` is Hugging Face's configuration, ``gpt_lightning.json`` ours: a folder has one of them or both. Where
Hugging Face has no such model, the tensors have our names and there is no ``config.json``.
"""

from gpt_lightning.models.huggingface.closest_family import why_not_huggingface
from gpt_lightning.models.huggingface.folder import Pretrained, read_config
from gpt_lightning.models.huggingface.heads import HuggingFaceHead
from gpt_lightning.models.huggingface.weights import load_weights
from gpt_lightning.models.huggingface.write import save

__all__ = ["HuggingFaceHead", "Pretrained", "load_weights", "read_config", "save", "why_not_huggingface"]
