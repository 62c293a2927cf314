"""OLMo 2 (OLMo team 2025, arXiv:2501.00656)."""

from typing import Any

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families.llama_like import NAMES, LlamaLike, read_bias
from gpt_lightning.models.huggingface.heads import CAUSAL_LM, SEQUENCE_CLASSIFICATION, SEQUENCE_REGRESSION
from gpt_lightning.models.huggingface.options import Options


class OLMo2(LlamaLike):
    """Llama with norms after attention and MLP, and norms of the projected queries and keys."""

    model_type = "olmo2"
    title = "Olmo2"
    names = NAMES | {"post_norm_1": "post_attention_layernorm", "post_norm_2": "post_feedforward_layernorm"}
    heads = (CAUSAL_LM, SEQUENCE_REGRESSION, SEQUENCE_CLASSIFICATION)
    claims = LlamaLike.claims | {
        "bias": (False, "attention"),
        "qk_norm": ("projection",),
        "norm_placement": ("after",),
    }
    default_eps = 1e-5

    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields of ``GPTConfig``."""
        own = {"bias": read_bias(options), "qk_norm": "projection", "norm_placement": "after"}
        return super().read_shape(options) | own

    def write_shape(self, config: GPTConfig) -> dict[str, Any]:
        """Return the entries of ``config.json``."""
        return super().write_shape(config) | {"attention_bias": bool(config.bias)}
