"""BART (Lewis et al. 2020, arXiv:1910.13461)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import torch

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.families.family import ANYTHING, NOT_NONE, ROTARY, SIZES, TRAINING, Claims, Family
from gpt_lightning.models.huggingface.heads import SEQ2SEQ_LM, HuggingFaceHead
from gpt_lightning.models.huggingface.options import Options
from gpt_lightning.models.huggingface.tensor_files import Parts

_NAMES: Final = {
    "token_embedding": "shared",
    "position_embedding": "embed_positions",
    "embedding_norm": "layernorm_embedding",
    "blocks": "layers",
    "norm_1": "self_attn_layer_norm",
    "norm_2": "final_layer_norm",
    "cross_norm": "encoder_attn_layer_norm",
    "attention.qkv": "self_attn.{}_proj",
    "attention.proj": "self_attn.out_proj",
    "cross_attention.q": "encoder_attn.q_proj",
    "cross_attention.kv": "encoder_attn.{}_proj",
    "cross_attention.proj": "encoder_attn.out_proj",
    "mlp.up": "fc1",
    "mlp.proj": "fc2",
}
_ACTIVATIONS: Final = {"gelu_exact": ("gelu",), "gelu": ("gelu_new", "gelu_pytorch_tanh"), "relu": ("relu",)}
"""Values of ``mlp`` -> names of the same function in ``config.json``. The first name is written."""
_FIXED: Final = {
    "normalize_before": False,
    "normalize_embedding": True,
    "add_final_layer_norm": False,
    "add_bias_logits": False,
    "static_position_embeddings": False,
}
"""Options of older versions of transformers' BART -> the only value that it still supports."""
_POSITION_OFFSET: Final = 2
"""Number of unused rows at the start of the position embeddings."""


class BART(Family):
    """Encoder-decoder with learned positions, norms after the residual addition, and a norm of the embeddings."""

    model_type = "bart"
    title = "Bart"
    names = _NAMES
    claims: ClassVar[Claims] = {
        **SIZES,
        **TRAINING,
        "n_encoder_layer": NOT_NONE,
        "norm_eps": (1e-5,),
        "norm_placement": ("after_residual",),
        "norm_embeddings": (True,),
        "mlp": tuple(_ACTIVATIONS),
        "scale_embeddings": ANYTHING,
        "tie_embeddings": (True,),
        # These fields have no effect on learned positions.
        **ROTARY,
        "nope_interval": ANYTHING,
        # Only values equal to n_head and n_embd / n_head are supported: see ``broken_rules``.
        "n_kv_head": ANYTHING,
        "head_dim": ANYTHING,
    }
    supported_options = ("is_encoder_decoder",)
    heads = (SEQ2SEQ_LM,)
    head_modules: ClassVar[Mapping[HuggingFaceHead, str]] = {}
    prefixes: ClassVar[Mapping[HuggingFaceHead, str]] = {}
    embedding_copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    zero_tensors = ("final_logits_bias",)

    def layers(self, module: str) -> tuple[str, ...]:
        """Return the family's layers, which have the prefix of the encoder or of the decoder."""
        if module == "token_embedding":
            return (self.names[module],)
        side = "encoder" if module.startswith("encoder.") else "decoder"
        (layer,) = super().layers(module.removeprefix("encoder."))
        letters = "kv" if module.endswith("cross_attention.kv") else "qkv"
        return tuple(dict.fromkeys(f"{side}.{layer.format(letter)}" for letter in letters))

    def tensors(self, backbone: GPT, prefix: str) -> dict[str, Parts]:
        """Map the names of the family's tensors to our parameters, with the unused rows of the position embeddings."""
        found = super().tensors(backbone, prefix)
        unused = torch.zeros(_POSITION_OFFSET, backbone.config.n_embd)
        for side in ("encoder", "decoder"):
            name = f"{prefix}{side}.{self.names['position_embedding']}.weight"
            found[name] = (unused.to(found[name][0]).clone(), *found[name])
        return found

    def broken_rules(self, config: GPTConfig) -> list[str]:
        """Return the fields of attention that BART does not support."""
        rules = {
            f"has no n_kv_head={config.n_kv_head}": config.kv_heads == config.n_head,
            f"has no head_dim={config.head_dim}": config.n_head * config.head_width == config.n_embd,
        }
        return [reason for reason, holds in rules.items() if not holds]

    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields of ``GPTConfig``.

        Raises:
            InputError: encoder and decoder differ in an option besides the number of layers, or a value is unsupported.
        """
        names = [name for each in _ACTIVATIONS.values() for name in each]
        options.check_activation("activation_function", tuple(names))
        for name, value in _FIXED.items():
            if options.get(name, value) != value:
                raise options.error(f"{name}={options.get(name)!r}", f"only {value} is supported")
        for name in ("attention_heads", "ffn_dim"):
            sides = [
                options.count(f"{side}_{name}", 16 if "heads" in name else 4096) for side in ("encoder", "decoder")
            ]
            if sides[0] != sides[1]:
                raise options.error(f"encoder_{name}={sides[0]}", f"must equal decoder_{name}={sides[1]}")
        if not options.flag("tie_word_embeddings", True):
            raise options.error("tie_word_embeddings=False", "the output layer must have the weights of the embedding")
        activation = options.get("activation_function", "gelu")
        return {
            "block_size": options.count("max_position_embeddings", 1024),
            "n_layer": options.count("decoder_layers", 12),
            "n_encoder_layer": options.count("encoder_layers", 12),
            "n_head": options.count("decoder_attention_heads", 16),
            "n_embd": options.count("d_model", 1024),
            "n_inner": options.count("decoder_ffn_dim", 4096),
            "norm_placement": "after_residual",
            "norm_embeddings": True,
            "mlp": next(mlp for mlp, known in _ACTIVATIONS.items() if activation in known),
            "scale_embeddings": options.flag("scale_embedding", False),
            "dropout": options.number("dropout", 0.1),
            "attention_dropout": options.number("attention_dropout", 0.0),
        }

    def write_shape(self, config: GPTConfig) -> dict[str, Any]:
        """Return the entries of ``config.json``."""
        both = {"attention_heads": config.n_head, "ffn_dim": config.mlp_width}
        return {
            "is_encoder_decoder": True,
            "max_position_embeddings": config.block_size,
            "decoder_layers": config.n_layer,
            "encoder_layers": config.n_encoder_layer,
            **{f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in both.items()},
            "d_model": config.n_embd,
            "activation_function": _ACTIVATIONS[config.mlp][0],
            "scale_embedding": config.scale_embeddings,
            "dropout": config.dropout,
            "attention_dropout": config.attention_dropout,
        }
