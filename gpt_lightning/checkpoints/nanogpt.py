"""Conversion of nanoGPT's ``ckpt.pt`` (https://github.com/karpathy/nanoGPT) to a checkpoint of a language model."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from gpt_lightning.bounded_files import read_text
from gpt_lightning.checkpoints.structure import check_structure
from gpt_lightning.errors import InputError
from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.families.gpt2 import GPT2

FORMAT: Final = "nanoGPT"
"""Value of the field ``format`` of a converted checkpoint."""
TOKENIZER_FILE: Final = "tokenizer.json"
"""Name of the tokenizer next to a ``ckpt.pt``. nanoGPT has none, or a pickle, which is never loaded."""
_ARGUMENTS: Final = {"block_size", "vocab_size", "n_layer", "n_head", "n_embd", "bias", "dropout"}
_GPT2_VOCAB_SIZE: Final = 50_257
_COMPILED: Final = "_orig_mod."
"""Prefix of names in a model that was saved after ``torch.compile``."""
_MASK: Final = re.compile(r"transformer\.h\.\d+\.attn\.bias")
"""Causal masks, which nanoGPT stored before torch 2."""
_HEAD: Final = "lm_head.weight"
_REMEDY: Final = "Use a checkpoint of nanoGPT's train.py"


def is_nanogpt(content: Any) -> bool:
    """Return whether the content of a torch file has the fields of nanoGPT's checkpoints."""
    return isinstance(content, dict) and {"model", "model_args"} <= content.keys() and "state_dict" not in content


def convert_nanogpt(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the checkpoint of a ``CausalLM`` with nanoGPT's weights, and with the tokenizer next to ``path`` if any.

    The logits equal nanoGPT's. A vocabulary smaller than GPT-2's, such as that of nanoGPT's characters, has no token
    that ends a text. It gets one, whose embedding is the mean of all others (Hewitt 2021,
    https://nlp.stanford.edu/~johnhew/vocab-expansion.html).

    Args:
        content: content of the file, read without running code.
        path: path of the file.

    Raises:
        InputError: the model has other arguments or weights than nanoGPT's.
    """
    backbone = _backbone(content["model_args"], path)
    weights = _weights(content["model"], path)
    check_structure({"hyper_parameters": {"backbone": backbone}, "state_dict": weights}, str(path))
    head = weights.pop(_HEAD, None)
    config = GPTConfig(**backbone)
    state = _rename_weights(weights, config, path)
    embedding = state["backbone.token_embedding.weight"]
    if head is None or head.data_ptr() == embedding.data_ptr():
        head = embedding
    elif not _fits(head, embedding):
        raise InputError(f"{path}: {_HEAD} has another shape or type than transformer.wte.weight. {_REMEDY}")
    backbone["tie_embeddings"] = torch.equal(head, embedding)
    state["head.weight"] = head
    if len(embedding) < _GPT2_VOCAB_SIZE:
        backbone["vocab_size"] += 1
        for name in ("backbone.token_embedding.weight", "head.weight"):
            state[name] = torch.cat((state[name], state[name].mean(0, keepdim=True)))
    hparams = {"task": "CausalLM", "backbone": asdict(GPTConfig(**backbone))}
    converted = {"hyper_parameters": hparams, "state_dict": state, "format": FORMAT}
    if (tokenizer := path.parent / TOKENIZER_FILE).is_file():
        converted["tokenizer"] = read_text(tokenizer, "Save it again as UTF-8")
    return converted


def _backbone(arguments: Any, path: Path) -> dict[str, Any]:
    """Return the fields of ``GPTConfig`` for nanoGPT's ``model_args``."""
    if not isinstance(arguments, dict) or not arguments.keys() <= _ARGUMENTS:
        shown = [str(name)[:50] for name in arguments if name not in _ARGUMENTS] if isinstance(arguments, dict) else []
        raise InputError(
            f"{path}: model_args must be a mapping with nanoGPT's arguments only (unknown: {', '.join(shown[:5])}). "
            f"{_REMEDY} without changes to its model"
        )
    dropout = arguments.get("dropout", 0.0)
    # Checkpoints without the argument are from January 2023 or earlier, when all layers had biases and GELU had the
    # tanh approximation.
    is_old = "bias" not in arguments
    own = {"bias": True, "dropout": dropout, "attention_dropout": dropout, "mlp": "gelu" if is_old else "gelu_exact"}
    return own | arguments


def _weights(model: Any, path: Path) -> dict[str, Any]:
    """Return the weights without the prefix of ``torch.compile`` and without masks."""
    if not isinstance(model, dict) or not all(isinstance(name, str) for name in model):
        raise InputError(f"{path}: damaged: its field 'model' does not map names to weights. {_REMEDY}")
    named = {name.removeprefix(_COMPILED): value for name, value in model.items()}
    return {name: value for name, value in named.items() if not _MASK.fullmatch(name)}


def _rename_weights(weights: Mapping[str, Tensor], config: GPTConfig, path: Path) -> dict[str, Tensor]:
    """Return the weights of the backbone under our names.

    Raises:
        InputError: a weight is missing, unexpected, or of another shape or type.
    """
    with torch.device("meta"):
        expected = GPT(config).state_dict()
    names = {name: _nanogpt_name(name) for name in expected}
    if unexpected := weights.keys() - set(names.values()):
        raise InputError(f"{path}: unexpected weight {min(unexpected)[:100]}, which nanoGPT does not have. {_REMEDY}")
    for name, original in names.items():
        if original not in weights:
            raise InputError(f"{path}: the weights lack {original}. {_REMEDY}")
        value, shape = weights[original], list(expected[name].shape)
        if not _fits(value, expected[name]):
            raise InputError(
                f"{path}: {original} has shape {list(value.shape)} and type {value.dtype}, but model_args require "
                f"shape {shape} and a floating-point type. {_REMEDY}"
            )
    return {f"backbone.{name}": weights[original] for name, original in names.items()}


def _nanogpt_name(name: str) -> str:
    """Return nanoGPT's name of a weight of our backbone; its layers have the names of Hugging Face's GPT-2."""
    module, _, kind = name.rpartition(".")
    (layer,) = GPT2().layers(module)
    return f"transformer.{layer}.{kind}"


def _fits(value: Tensor, expected: Tensor) -> bool:
    return value.shape == expected.shape and value.is_floating_point()
