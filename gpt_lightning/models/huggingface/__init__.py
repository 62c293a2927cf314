"""Model folders that Hugging Face's classes and ours both read: a configuration and safetensors, nothing that could run.

``config.json`` is Hugging Face's configuration, ``gpt_lightning.json`` ours: a folder has one of them or both. Where
Hugging Face has no such model, the tensors have our names and there is no ``config.json``.
"""

from gpt_lightning.models.huggingface.export import why_not_huggingface
from gpt_lightning.models.huggingface.folder import Pretrained, read_config
from gpt_lightning.models.huggingface.save import save
from gpt_lightning.models.huggingface.weights import load_weights

__all__ = ["Pretrained", "load_weights", "read_config", "save", "why_not_huggingface"]
