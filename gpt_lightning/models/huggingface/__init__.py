"""Reading and writing of model folders in Hugging Face's format: configuration files and safetensors, no code.

A folder has Hugging Face's ``config.json``, our ``gpt_lightning.json``, or both. A model without an equivalent in
Hugging Face's classes has no ``config.json``, and its tensors have our names.
"""

from gpt_lightning.models.huggingface.closest_family import why_not_huggingface
from gpt_lightning.models.huggingface.folder import Pretrained, read_config
from gpt_lightning.models.huggingface.heads import HuggingFaceHead
from gpt_lightning.models.huggingface.weights import load_weights
from gpt_lightning.models.huggingface.write import save

__all__ = ["HuggingFaceHead", "Pretrained", "load_weights", "read_config", "save", "why_not_huggingface"]
