"""Llama 1 to 3, SmolLM2 and other models of this architecture (Grattafiori et al. 2024, arXiv:2407.21783)."""

from typing import Any

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families.llama_like import LlamaLike, read_bias
from gpt_lightning.models.huggingface.options import Options


class Llama(LlamaLike):
    """Llama, with biases in all linear layers, only in the attention layers, or nowhere."""

    model_type = "llama"
    title = "Llama"
    claims = LlamaLike.claims | {"bias": (False, "attention", True)}

    def broken_rules(self, config: GPTConfig) -> list[str]:
        """Return the rule that Llama's configuration class enforces, even with ``head_dim``."""
        return ["needs n_embd to be a multiple of n_head"] if config.n_embd % config.n_head else []

    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields of ``GPTConfig``."""
        return super().read_shape(options) | {"bias": read_bias(options, options.flag("mlp_bias", False))}

    def write_shape(self, config: GPTConfig) -> dict[str, Any]:
        """Return the entries of ``config.json``."""
        biases = {"attention_bias": bool(config.bias), "mlp_bias": config.bias is True}
        return super().write_shape(config) | biases
