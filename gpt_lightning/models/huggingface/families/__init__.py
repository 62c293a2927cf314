"""Hugging Face model families, one file each; ``FAMILIES`` lists them."""

from typing import Final

from gpt_lightning.models.huggingface.families.bart import BART
from gpt_lightning.models.huggingface.families.family import Family
from gpt_lightning.models.huggingface.families.gemma3 import Gemma3
from gpt_lightning.models.huggingface.families.gpt2 import GPT2
from gpt_lightning.models.huggingface.families.llama import Llama
from gpt_lightning.models.huggingface.families.mistral import Mistral
from gpt_lightning.models.huggingface.families.olmo2 import OLMo2
from gpt_lightning.models.huggingface.families.phi3 import Phi3
from gpt_lightning.models.huggingface.families.qwen2 import Qwen2
from gpt_lightning.models.huggingface.families.qwen3 import Qwen3
from gpt_lightning.models.huggingface.families.smollm3 import SmolLM3

FAMILIES: Final[tuple[Family, ...]] = (
    GPT2(),
    Llama(),
    Mistral(),
    Qwen2(),
    Qwen3(),
    SmolLM3(),
    Phi3(),
    OLMo2(),
    Gemma3(),
    BART(),
)
"""The order of choice for export: the first family that can express a model."""
