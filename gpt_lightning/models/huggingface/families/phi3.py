"""Phi-3 (Abdin et al. 2024, arXiv:2404.14219)."""

from typing import Any

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families.llama_like import NAMES, LlamaLike, context_length
from gpt_lightning.models.huggingface.heads import (
    CAUSAL_LM,
    SEQUENCE_CLASSIFICATION,
    SEQUENCE_REGRESSION,
    TOKEN_CLASSIFICATION,
)
from gpt_lightning.models.huggingface.options import Options


class Phi3(LlamaLike):
    """Llama without biases, with one fused layer for queries, keys and values, and one for gate and up."""

    model_type = "phi3"
    title = "Phi3"
    names = NAMES | {
        "attention.qkv": "self_attn.qkv_proj",
        "mlp.gate": "mlp.gate_up_proj",
        "mlp.up": "mlp.gate_up_proj",
    }
    heads = (CAUSAL_LM, SEQUENCE_REGRESSION, SEQUENCE_CLASSIFICATION, TOKEN_CLASSIFICATION)
    claims = LlamaLike.claims | {"rope_factor": (1.0,)}
    rope_types = ("default",)
    default_eps = 1e-5

    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields of ``GPTConfig``."""
        own = {
            "block_size": context_length(options, options.get("sliding_window")),
            "dropout": options.number("resid_pdrop", 0.0),
        }
        return super().read_shape(options) | own

    def write_shape(self, config: GPTConfig) -> dict[str, Any]:
        """Return the entries of ``config.json``."""
        dropout = {"resid_pdrop": config.dropout, "embd_pdrop": config.dropout}
        return super().write_shape(config) | dropout | {"sliding_window": None}
