"""Interface of a model family: names, ``config.json`` and the supported configurations."""

from abc import ABC, abstractmethod
from collections.abc import Container, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Final

import torch

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.heads import (
    HEADS,
    QUESTION_ANSWERING,
    SEQUENCE_CLASSIFICATION,
    SEQUENCE_REGRESSION,
    HuggingFaceHead,
    is_regression,
)
from gpt_lightning.models.huggingface.options import Options
from gpt_lightning.models.huggingface.tensor_files import Parts
from gpt_lightning.models.lora import base_parameters


class _Anything(Container[Any]):
    def __contains__(self, value: object) -> bool:
        return True


ANYTHING: Final = _Anything()
"""Every value of a field."""


class _NotNone(Container[Any]):
    def __contains__(self, value: object) -> bool:
        return value is not None


NOT_NONE: Final = _NotNone()
"""Every value of a field but None."""

Claims = dict[str, Container[Any]]
"""Fields of ``GPTConfig`` -> the values that a family supports."""

SIZES: Final[Claims] = dict.fromkeys(
    ("vocab_size", "block_size", "n_layer", "n_head", "n_embd", "n_inner", "norm_eps", "tie_embeddings"), ANYTHING
)
TRAINING: Final[Claims] = dict.fromkeys(("dropout", "attention_dropout", "zero_init_proj"), ANYTHING)
"""Fields that a trained model does not depend on."""
ROTARY: Final[Claims] = dict.fromkeys(
    (
        "rope_theta",
        "rope_type",
        "rope_factor",
        "rope_low_freq_factor",
        "rope_high_freq_factor",
        "rope_original_block_size",
        "rope_attention_factor",
    ),
    ANYTHING,
)


class Family(ABC):
    """Hugging Face model family. Subclasses have no state."""

    model_type: ClassVar[str]
    """Hugging Face's name for the family."""
    title: ClassVar[str]
    """Prefix of its class names, as in ``LlamaForCausalLM``."""
    claims: ClassVar[Claims]
    """Fields of ``GPTConfig`` that the family supports; all other fields must have their defaults."""
    names: ClassVar[Mapping[str, str]]
    """Names of our modules -> names in the family; those inside a block are relative to the block."""
    supported_options: ClassVar[Container[str]] = ()
    """Options of ``config.json`` that this family supports, but most families do not."""
    heads: ClassVar[tuple[HuggingFaceHead, ...]] = HEADS
    """Heads for which the family has a class."""
    architectures: ClassVar[Mapping[HuggingFaceHead | None, str]] = {}
    """Class names that differ from the title and the head's suffix; None is the backbone without a head."""
    head_modules: ClassVar[Mapping[HuggingFaceHead, str]] = {}
    """Names of head layers that differ from those of most families."""
    prefix: ClassVar[str] = "model."
    """Prefix of the names of the backbone's tensors in a model with a head."""
    prefixes: ClassVar[Mapping[HuggingFaceHead, str]] = {QUESTION_ANSWERING: "transformer."}
    """Prefixes for heads with another one."""
    embedding_copies: ClassVar[tuple[str, ...]] = ()
    """Names, after the prefix, of tensors that may repeat the token embedding."""
    zero_tensors: ClassVar[tuple[str, ...]] = ()
    """Names of tensors that have no equivalent here, so they must be zero."""
    transposes_linears: ClassVar[bool] = False
    """True if linear layers are stored transposed (transformers' ``Conv1D``)."""

    tokenizer_parts: ClassVar[Mapping[str, Any] | None] = None
    """Parts of ``tokenizer.json``, and options of its model, that transformers' ``AutoTokenizer`` replaces by these.

    None if it replaces none.
    """

    # --- names

    def architecture(self, head: HuggingFaceHead | None) -> str:
        """Return the name of the class with ``head``; None is the backbone without a head."""
        return self.architectures.get(head, f"{self.title}{'Model' if head is None else head.suffix}")

    def prefix_of(self, head: HuggingFaceHead | None) -> str:
        """Return the prefix of the names of the backbone's tensors."""
        return "" if head is None else self.prefixes.get(head, self.prefix)

    def head_module(self, head: HuggingFaceHead) -> str:
        """Return the name of the head's layer."""
        return self.head_modules.get(head, head.module)

    def layers(self, module: str) -> tuple[str, ...]:
        """Return the family's layers whose concatenated outputs are those of our ``module``."""
        if not module.startswith("blocks."):
            return (self.names[module],)
        blocks, layer, inside = module.split(".", 2)
        return (f"{self.names[blocks]}.{layer}.{self.names[inside]}",)

    def tensors(self, backbone: GPT, prefix: str) -> dict[str, Parts]:
        """Map the names of the family's tensors to views of our parameters, for reading and writing."""
        found: dict[str, Parts] = {}
        for name, parameter in base_parameters(backbone):
            module, _, kind = name.rpartition(".")
            transposes = self.transposes_linears and parameter.ndim == 2 and module.startswith("blocks.")
            stored = parameter.mT if transposes else parameter
            layers = self.layers(module)
            widths = qkv_widths(backbone.config)[-len(layers) :]  # cross-attention has keys and values in one layer
            views = (stored,) if len(layers) == 1 else torch.split(stored, widths)
            for layer, view in zip(layers, views, strict=True):
                key = f"{prefix}{layer}.{kind}"
                found[key] = (*found.get(key, ()), view)  # the family may fuse several of our layers
        return found

    # --- config.json

    def read(self, options: Options) -> GPTConfig:
        """Return the configuration of the backbone that ``config.json`` describes.

        Raises:
            InputError: an option is invalid or not supported.
        """
        options.check_neutral(self.supported_options)
        vocab_size, shape = options.count("vocab_size"), self.read_shape(options)
        try:
            return GPTConfig(vocab_size=vocab_size, **shape)
        except InputError as error:
            raise InputError(f"{options.path}: {error}") from None

    def read_head(self, options: Options) -> HuggingFaceHead | None:
        """Return the head that ``architectures`` names; None is the backbone without a head.

        Raises:
            InputError: ``architectures`` does not name one supported class.
        """
        named = options.content.get("architectures") or [self.architecture(None)]
        supported = {self.architecture(head): head for head in (*self.heads, None)}
        if not isinstance(named, list) or len(named) != 1 or named[0] not in list(supported):
            raise options.error(f"architectures={named!r}", f"supported are {', '.join(supported)}")
        head = supported[named[0]]
        is_number = head is SEQUENCE_CLASSIFICATION and SEQUENCE_REGRESSION in self.heads and is_regression(options)
        return SEQUENCE_REGRESSION if is_number else head

    def write(self, config: GPTConfig, head: HuggingFaceHead) -> dict[str, Any]:
        """Return the entries of ``config.json`` that describe the backbone."""
        return {
            "architectures": [self.architecture(head)],
            "model_type": self.model_type,
            "vocab_size": config.vocab_size,
            "tie_word_embeddings": config.tie_embeddings,
            **self.write_shape(config),
        }

    @abstractmethod
    def read_shape(self, options: Options) -> dict[str, Any]:
        """Return the fields of ``GPTConfig`` without ``vocab_size``."""

    @abstractmethod
    def write_shape(self, config: GPTConfig) -> dict[str, Any]:
        """Return the entries of ``config.json`` for a configuration that the family supports."""

    # --- supported configurations

    def misfits(self, config: GPTConfig, head: HuggingFaceHead) -> list[str]:
        """Return the reasons why the family cannot express a model; an empty list if it can."""
        reasons = [f"has no {self.architecture(head)}"] if head not in self.heads else []
        for field in fields(config):
            value = getattr(config, field.name)
            if value not in self.claims.get(field.name, (field.default,)):
                reasons.append(f"has no {field.name}={_to_yaml(value)}")
        return reasons + self.broken_rules(config)

    def broken_rules(self, config: GPTConfig) -> list[str]:
        """Return the reasons why the family does not support the combination of fields in ``config``."""
        return []


def qkv_widths(config: GPTConfig) -> list[int]:
    """Return the output channels of the layers for queries, keys and values."""
    return [heads * config.head_width for heads in (config.n_head, config.kv_heads, config.kv_heads)]


def _to_yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
