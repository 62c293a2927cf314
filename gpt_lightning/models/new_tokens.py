"""Rows of new tokens in the embedding and the output layer of a pretrained language model.

V tokens, C channels.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gpt_lightning.models.gpt import GPT

_ROWS: Final = "{layer}.parametrizations.weight.0.{name}"
"""Name of a tensor of ``NewRows`` in the state of a task."""


class NewRows(nn.Module):
    """Parametrization that trains the rows of new tokens in a frozen weight, together with LoRA adapters.

    Args:
        weight_VC: the weight, with the initial values of the rows.
        ids: ids of the new tokens.
    """

    ids: Tensor

    def __init__(self, weight_VC: Tensor, ids: range) -> None:
        super().__init__()
        self.register_buffer("ids", torch.arange(ids.start, ids.stop, device=weight_VC.device))
        self.rows = nn.Parameter(weight_VC.detach()[ids.start : ids.stop].clone())

    def forward(self, weight_VC: Tensor) -> Tensor:
        """Return the weight with the trained rows."""
        return weight_VC.index_copy(0, self.ids, self.rows)


def train_rows(backbone: GPT, head: nn.Linear, ids: range) -> None:
    """Make the rows of new tokens trainable in the frozen embedding and output layer; tied layers share them."""
    embedding = backbone.token_embedding
    is_tied = head.weight is embedding.weight
    rows = NewRows(embedding.weight, ids)
    head_rows = rows if is_tied else NewRows(head.weight, ids)
    parametrize.register_parametrization(embedding, "weight", rows)
    parametrize.register_parametrization(head, "weight", head_rows)


@torch.no_grad()
def fill_rows(backbone: GPT, head: nn.Linear, ids: range) -> None:
    """Set the rows of new tokens to the mean of the rows before them (Hewitt 2021), in place."""
    for weight in {backbone.token_embedding.weight, head.weight}:
        weight[ids.start : ids.stop] = _mean_row(weight[: ids.start])


@torch.no_grad()
def merge_rows(layer: nn.Module, name: str, state: Mapping[str, Tensor]) -> None:
    """Copy the trained rows of new tokens from a checkpoint into the weight of a layer, in place.

    Args:
        layer: embedding or output layer.
        name: name of the layer in the state.
        state: the ``state_dict`` of the task's checkpoint. It may have no new rows.
    """
    rows, ids = (state.get(_ROWS.format(layer=name, name=each)) for each in ("rows", "ids"))
    if rows is not None and ids is not None:
        assert isinstance(layer.weight, Tensor)
        layer.weight[ids] = rows.to(layer.weight)


def has_new_rows(state: Mapping[str, Tensor]) -> bool:
    """Return whether the state of a task has trained rows of new tokens."""
    return any(is_of_new_rows(name) for name in state)


def is_of_new_rows(name: str) -> bool:
    """Return whether a tensor in the state of a task belongs to the rows of new tokens."""
    return ".parametrizations.weight." in name


@contextmanager
def pretrained_vocabulary(backbone: GPT, size: int | None, head: nn.Linear | None = None) -> Iterator[None]:
    """Reduce a model to the pretrained vocabulary while weights are loaded, and then set the new rows to their mean.

    Args:
        backbone: backbone whose embedding has rows for new tokens.
        size: number of rows of the pretrained embedding. None, or a number that is not smaller, has no effect.
        head: output layer, if it is loaded too.
    """
    config, embedding = backbone.config, backbone.token_embedding
    if size is None or config.vocab_size is None or size >= config.vocab_size:
        yield
        return
    weights: dict[nn.Embedding | nn.Linear, nn.Parameter] = {}
    for layer in (embedding, head):
        if layer is not None:
            assert isinstance(layer.weight, nn.Parameter)
            weights[layer] = layer.weight
    # These parameters share memory with the first rows, so loading them fills the weights.
    views = {weight: nn.Parameter(weight.detach()[:size], weight.requires_grad) for weight in weights.values()}
    backbone.config = replace(config, vocab_size=size)
    try:
        for each, weight in weights.items():
            each.weight = views[weight]
        yield
    finally:
        backbone.config = config
        for each, weight in weights.items():
            each.weight = weight
    with torch.no_grad():
        for weight in views:
            weight[size:] = _mean_row(weight[:size])


def _mean_row(weight_VC: Tensor) -> Tensor:
    """Return the mean of rows, computed in float64 so that it does not depend on the machine."""
    return weight_VC.double().mean(0).to(weight_VC.dtype)
