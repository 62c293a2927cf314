"""Tensors of a model folder as views of our parameters."""

from torch import nn

from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.tensor_files import Parts
from gpt_lightning.models.lora import base_parameters


def head_views(name: str, head: nn.Module, backbone: GPT) -> dict[str, Parts]:
    """Map the tensors of a head called ``name`` to its parameters; an output layer with tied weights has none."""
    shared = backbone.token_embedding.weight
    return {f"{name}.{kind}": (value,) for kind, value in head.named_parameters() if value is not shared}


def our_views(backbone: GPT, head: nn.Module | None) -> dict[str, Parts]:
    """Map the tensors of a folder in our own format to our parameters; they have the same names."""
    views: dict[str, Parts] = {f"backbone.{name}": (parameter,) for name, parameter in base_parameters(backbone)}
    return views | ({} if head is None else head_views("head", head, backbone))
