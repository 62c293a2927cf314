"""Loading of weights from a model folder, after all tensors are checked."""

import re
from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import PER_TASK, GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.families.family import Family
from gpt_lightning.models.huggingface.folder import Pretrained, effective_shape
from gpt_lightning.models.huggingface.own_config import check_files
from gpt_lightning.models.huggingface.tensor_files import (
    FLOATING,
    Parts,
    StoredTensor,
    fill,
    read_tensor,
    shape_of,
    stored_tensors,
    weight_files,
)
from gpt_lightning.models.huggingface.views import head_views, our_views

_BUFFERS: Final = re.compile(r"(.*\.)?(h\.\d+\.attn\.(masked_)?bias|layers\.\d+\.self_attn\.rotary_emb\.inv_freq)")
"""Buffers in old files, causal masks and rotary frequencies, which are computed here."""


def load_weights(module: nn.Module, pretrained: Pretrained) -> None:
    """Load the weights of a folder into ``module``, one tensor at a time, and convert them to its dtype.

    All checks come first, so that an error leaves the module unchanged, unless a file changes during loading.

    Args:
        module: a GPT, which loads the backbone of any folder, or a task with ``backbone`` and ``head`` whose class
            attribute ``huggingface_head`` is the folder's head. The configurations of the backbones must match, except
            for the fields in ``PER_TASK``. Without learned positions, ``block_size`` may be
            smaller.
        pretrained: the configuration of the folder, from ``read_config``.

    Raises:
        InputError: the configurations differ, or a tensor is missing, unexpected, damaged, or of another shape or
            dtype.
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
    """Refuse a Hugging Face folder with another head than that of ``module``."""
    family, head = pretrained.family, pretrained.head
    # A subclass may have the head of its base class. The shapes of the tensors are compared later.
    heads = [vars(each).get("huggingface_head") for each in type(module).__mro__]
    if family is not None and (head is None or head not in heads):
        actual = "backbone without a head" if head is None else family.architecture(head)
        raise InputError(
            f"{pretrained.folder}: this is a {actual}, not a {type(module).__name__}. Use it for fine-tuning with "
            "--model.init_from, or give a model of the right class"
        )


def _check_shape(config: GPTConfig, pretrained: Pretrained) -> None:
    actual, expected = effective_shape(config), effective_shape(pretrained.config)
    for name in sorted((actual.keys() | expected.keys()) - set(PER_TASK)):
        is_shorter = name == "block_size" and config.position != "learned" and actual[name] <= expected[name]
        if actual.get(name) != expected.get(name) and not is_shorter:
            raise InputError(
                f"{pretrained.folder}: backbone.{name} is {expected.get(name)} in the folder, "
                f"but {actual.get(name)} in the configuration. Leave it out, or set it to {expected.get(name)}"
            )


def _views(
    backbone: GPT, head: nn.Module | None, pretrained: Pretrained, stored: Mapping[str, StoredTensor]
) -> dict[str, Parts]:
    """Return the tensors that the folder must have, as views of our parameters."""
    family = pretrained.family
    if family is None:
        return our_views(backbone, head)
    # Some folders, such as GPT-2's, lack the prefix of their class.
    prefixes = dict.fromkeys((family.prefix_of(pretrained.head), "", "model.", "transformer."))
    embedding = f"{family.names['token_embedding']}.weight"
    prefix = next((each for each in prefixes if f"{each}{embedding}" in stored), family.prefix_of(pretrained.head))
    views = family.tensors(backbone, prefix)
    if head is not None and pretrained.head is not None:
        views |= head_views(family.head_module(pretrained.head), head, backbone)
    return views


def _check_names(
    views: Mapping[str, Parts],
    stored: Mapping[str, StoredTensor],
    pretrained: Pretrained,
    backbone: GPT,
    head: nn.Module | None,
) -> None:
    """Refuse missing and unexpected tensors; the folder's head is ignored if ``head`` is None."""
    folder, family = pretrained.folder, pretrained.family
    if family is None:
        model, head_name = f"the task {pretrained.task}", "head"
    else:
        model = family.architecture(pretrained.head)
        head_name = "" if pretrained.head is None else family.head_module(pretrained.head)
    if missing := [name for name in views if name not in stored]:
        raise InputError(
            f"{folder}: the weights lack {_list_tensors(missing)} of {model}. Copy or download the folder again"
        )
    output, embedding = f"{head_name}.weight", next(iter(views))
    # A tied output layer may be stored in addition to the embedding.
    tied = head is not None and any(weight is backbone.token_embedding.weight for weight in head.parameters())
    copies, zeros = _neutral_tensors(embedding, family)
    surplus = [
        name
        for name in stored
        if name not in views
        and name not in (*copies, *zeros)
        and not _BUFFERS.fullmatch(name)
        and not (head is None and head_name and name.startswith(f"{head_name}."))
        and not (tied and name == output)
    ]
    if surplus:
        raise InputError(
            f"{stored[surplus[0]].file}: unexpected {_list_tensors(surplus)}: not part of {model} with this "
            "configuration. Check that the configuration belongs to these weights"
        )
    if tied and output in stored and not _is_equal(output, embedding, stored):
        raise InputError(
            f"{stored[output].file}: tensor {output} differs from {embedding}, but the configuration ties them. "
            "Set tie_word_embeddings to false in config.json to use both"
        )
    for name in copies:
        if name in stored and not _is_equal(name, embedding, stored):
            raise InputError(
                f"{stored[name].file}: tensor {name} differs from {embedding}, but {model} shares them. "
                "Copy or download the folder again"
            )
    for name in zeros:
        if name in stored and bool(read_tensor(name, stored[name]).any()):
            raise InputError(f"{stored[name].file}: tensor {name} is not zero, which is not supported")


def _neutral_tensors(embedding: str, family: Family | None) -> tuple[list[str], list[str]]:
    """Return the names of tensors that may repeat the embedding called ``embedding``, and of those that must be 0."""
    if family is None:
        return [], []
    prefix = embedding.removesuffix(f"{family.names['token_embedding']}.weight")
    return [f"{prefix}{name}" for name in family.embedding_copies], list(family.zero_tensors)


def _is_equal(one: str, other: str, stored: Mapping[str, StoredTensor]) -> bool:
    if stored[one].shape != stored[other].shape or stored[one].dtype != stored[other].dtype:
        return False
    return torch.equal(read_tensor(one, stored[one]), read_tensor(other, stored[other]))


def _check_tensor(name: str, parts: Parts, stored: StoredTensor, pretrained: Pretrained) -> None:
    if stored.dtype not in FLOATING:
        raise InputError(
            f"{stored.file}: tensor {name} has dtype {stored.dtype}, which is not supported. "
            f"Convert it to {' or '.join(FLOATING)}"
        )
    shape = shape_of(parts)
    if stored.shape != shape:
        labels = pretrained.labels or []
        named = f" for its {len(labels)} labels" if len(labels) == shape[0] else ""
        raise InputError(
            f"{stored.file}: tensor {name} has shape {list(stored.shape)}, but the configuration requires "
            f"{list(shape)}{named}. Copy or download the folder again"
        )


def _list_tensors(names: list[str]) -> str:
    """Return at most three names for an error, and the number of the others."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"tensor{'s'[: len(names) > 1]} {', '.join(names[:3])}{more}"
