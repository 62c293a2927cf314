"""SmolLM3 (https://huggingface.co/blog/smollm3)."""

from typing import Any

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.families.family import NOT_NONE
from gpt_lightning.models.huggingface.families.llama_like import LlamaLike, context_length, optional_window, read_bias
from gpt_lightning.models.huggingface.options import Options


class SmolLM3(LlamaLike):
    """Llama with layers that have no rotary positions (Yang et al. 2025, arXiv:2501.18795)."""

    model_type = "smollm3"
    title = "SmolLM3"
    claims = LlamaLike.claims | {
        "bias": (False, "attention", True),
        # Models with rotary positions in all layers belong to other families.
        "nope_interval": NOT_NONE,
    }
    default_kv_heads = 4
    default_theta = 2e6
    default_tie = True

    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields of ``GPTConfig``."""
        shape = super().read_shape(options)
        own = {
            "bias": read_bias(options, options.flag("mlp_bias", False)),
            "block_size": context_length(options, optional_window(options, default=None)),
            "nope_interval": _read_interval(options),
        }
        return shape | own

    def write_shape(self, config: GPTConfig) -> dict[str, Any]:
        """Return the entries of ``config.json``."""
        assert config.nope_interval is not None
        return super().write_shape(config) | {
            "sliding_window": None,
            "attention_bias": bool(config.bias),
            "mlp_bias": config.bias is True,
            "no_rope_layer_interval": config.nope_interval,
            "no_rope_layers": [int((layer + 1) % config.nope_interval != 0) for layer in range(config.n_layer)],
        }


def _read_interval(options: Options) -> int | None:
    """Return the interval between layers without rotary positions, or None if all layers have them."""
    n_layer, interval = options.count("num_hidden_layers"), options.count("no_rope_layer_interval", 4)
    layers = options.content.get("no_rope_layers")
    if layers is None:
        return interval if interval <= n_layer else None
    if not isinstance(layers, list) or len(layers) < n_layer:
        raise options.error(f"no_rope_layers={layers!r}", "must have a 0 or a 1 for each layer")
    rotary = [bool(each) for each in layers[:n_layer]]
    if all(rotary):
        return None
    interval = rotary.index(False) + 1
    if rotary != [(layer + 1) % interval != 0 for layer in range(n_layer)]:
        raise options.error(f"no_rope_layers={layers!r}", "layers without rotary positions must have equal intervals")
    return interval
