"""Loading of a model folder's weights; every tensor is checked before the first is read."""

import re
from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import PER_TASK, GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.folder import Pretrained, effective
from gpt_lightning.models.huggingface.own_config import check_files
from gpt_lightning.models.huggingface.tensor_files import (
    FLOATING,
    Parts,
    Stored,
    fill,
    read_tensor,
    shape_of,
    stored_tensors,
    weight_files,
)
from gpt_lightning.models.huggingface.views import head_views, our_views

_BUFFERS: Final = re.compile(r"(.*\.)?(h\.\d+\.attn\.(masked_)?bias|layers\.\d+\.self_attn\.rotary_emb\.inv_freq)")
"""What old files hold beside weights: masks and frequencies, which are computed."""


def load_weights(module: nn.Module, pretrained: Pretrained) -> None:
    """Fill ``module`` with the weights of the folder, one tensor at a time; they take on the module's dtype.

    Nothing is filled if anything is wrong, but for a file that changes meanwhile.

    Args:
        module: a GPT, which takes the backbone of any folder; or a task with ``backbone`` and ``head``, whose class
            names the folder's head as ``huggingface_head``. Of the same shape; what its attention sees and its dropout
            may differ, and with rotary positions its block may be shorter.
        pretrained: what ``read_config`` gave.

    Raises:
        InputError: shapes differ, or a tensor is missing, one too many, misshaped, not floating or damaged.
    """
    backbone, head = (module, None) if isinstance(module, GPT) else (module.backbone, module.head)
    assert isinstance(backbone, GPT)
    assert head is None or isinstance(head, nn.Module)
    if head is not None:
        _check_head(module, pretrained)
    _check_shape(backbone.config, pretrained)
    check_files(pretrained.files, weight_files(pretrained.folder))
    stored = stored_tensors(pretrained.folder)
    views = _views(backbone, head, pretrained, stored)
    _check_names(views, stored, pretrained, backbone, head)
    for name, parts in views.items():
        _check_tensor(name, parts, stored[name], pretrained)
    with torch.no_grad():
        for name, parts in views.items():
            fill(parts, read_tensor(name, stored[name]))
    if pretrained.extra_state is not None and head is not None:
        module.set_extra_state(torch.tensor(pretrained.extra_state, dtype=torch.float64))


def _check_head(module: nn.Module, pretrained: Pretrained) -> None:
    """Refuse a folder of Hugging Face's with another head than ``module`` has."""
    family, head = pretrained.family, pretrained.head
    # A subclass starts without a head of Hugging Face's, but its layer may be its base's: shapes are compared later.
    heads = [vars(each).get("huggingface_head") for each in type(module).__mro__]
    if family is not None and (head is None or head not in heads):
        held = "backbone alone" if head is None else family.architecture(head)
        raise InputError(f"{pretrained.folder}: holds a {held}, not a {type(module).__name__}")


def _check_shape(mine: GPTConfig, pretrained: Pretrained) -> None:
    ours, theirs = effective(mine), effective(pretrained.config)
    for name in sorted((ours.keys() | theirs.keys()) - set(PER_TASK)):
        shorter = name == "block_size" and mine.position == "rotary" and ours[name] <= theirs[name]
        if ours.get(name) != theirs.get(name) and not shorter:
            raise InputError(
                f"{pretrained.folder}: backbone.{name} is {theirs.get(name)} there, but {ours.get(name)} here"
            )


def _views(
    backbone: GPT, head: nn.Module | None, pretrained: Pretrained, stored: Mapping[str, Stored]
) -> dict[str, Parts]:
    """Return the tensors that the folder must have, as views of our parameters."""
    family = pretrained.family
    if family is None:
        return our_views(backbone, head)
    # Some folders, GPT-2's own among them, have no prefix though their class has one.
    prefixes = dict.fromkeys((family.prefix_of(pretrained.head), "", "model.", "transformer."))
    embedding = f"{family.names['token_embedding']}.weight"
    prefix = next((each for each in prefixes if f"{each}{embedding}" in stored), family.prefix_of(pretrained.head))
    views = family.tensors(backbone, prefix)
    if head is not None and pretrained.head is not None:
        views |= head_views(family.head_module(pretrained.head), head, backbone)
    return views


def _check_names(
    views: Mapping[str, Parts],
    stored: Mapping[str, Stored],
    pretrained: Pretrained,
    backbone: GPT,
    head: nn.Module | None,
) -> None:
    """Refuse missing and surplus tensors; those of a head are neither if ``head`` is None."""
    folder, family = pretrained.folder, pretrained.family
    if family is None:
        what, head_name = f"a {pretrained.task} of gpt-lightning", "head"
    else:
        what = family.architecture(pretrained.head)
        head_name = "" if pretrained.head is None else family.head_module(pretrained.head)
    if missing := [name for name in views if name not in stored]:
        raise InputError(f"{folder}: {_some(missing)} of {what} missing in the weights; copy the folder again")
    output, embedding = f"{head_name}.weight", next(iter(views))
    # An output layer that is the embedding may be stored a second time.
    tied = head is not None and any(weight is backbone.token_embedding.weight for weight in head.parameters())
    surplus = [
        name
        for name in stored
        if name not in views
        and not _BUFFERS.fullmatch(name)
        and not (head is None and head_name and name.startswith(f"{head_name}."))
        and not (tied and name == output)
    ]
    if surplus:
        raise InputError(f"{stored[surplus[0]].file}: {_some(surplus)} too many for {what} of this configuration")
    if tied and output in stored and not _equal(output, embedding, stored):
        raise InputError(
            f"{stored[output].file}: tensor {output} differs from {embedding}, which it equals according to the "
            "configuration; set tie_word_embeddings to false there if both are meant"
        )


def _equal(one: str, other: str, stored: Mapping[str, Stored]) -> bool:
    if stored[one].shape != stored[other].shape or stored[one].dtype != stored[other].dtype:
        return False
    return torch.equal(read_tensor(one, stored[one]), read_tensor(other, stored[other]))


def _check_tensor(name: str, parts: Parts, stored: Stored, pretrained: Pretrained) -> None:
    if stored.dtype not in FLOATING:
        raise InputError(f"{stored.file}: tensor {name} is {stored.dtype}; weights are {', '.join(FLOATING)}")
    shape = shape_of(parts)
    if stored.shape != shape:
        labels = pretrained.labels or []
        named = f", which names {len(labels)} labels" if len(labels) == shape[0] else ""
        raise InputError(
            f"{stored.file}: tensor {name} is of shape {list(stored.shape)}, not {list(shape)} as its "
            f"configuration says{named}"
        )


def _some(names: list[str]) -> str:
    """Names for an error, not too many of them."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"tensor{'s'[: len(names) > 1]} {', '.join(names[:3])}{more} {'are' if len(names) > 1 else 'is'}"
