"""The weights of a folder into a model of ours: each tensor is accounted for before the first is read."""

import re
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.models.config import PER_TASK, GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.huggingface.folder import Pretrained, effective
from gpt_lightning.models.huggingface.names import FAMILIES, embedding_name, head_views, our_views, their_views
from gpt_lightning.models.huggingface.own import check_files
from gpt_lightning.models.huggingface.tensor_files import FLOATING, Stored, read_tensor, stored_tensors, weight_files

_BUFFERS: Final = re.compile(r"(.*\.)?(h\.\d+\.attn\.(masked_)?bias|layers\.\d+\.self_attn\.rotary_emb\.inv_freq)")
"""What old files hold beside weights: masks and frequencies, which are computed."""


def load_weights(module: nn.Module, pretrained: Pretrained) -> None:
    """Fill ``module`` with the weights of the folder, one tensor at a time; they take on the module's dtype.

    Nothing is filled if anything is wrong, but for a file that changes meanwhile.

    Args:
        module: a GPT, which takes the backbone of a folder of any task; or a task of the folder's own kind, with its
            head. Of the same shape; what its attention sees and its dropout may differ, and with rotary positions its
            block may be shorter.
        pretrained: what ``read_config`` gave.

    Raises:
        InputError: shapes differ, or a tensor is missing, one too many, misshaped, not floating or damaged.
    """
    backbone, head = (module, None) if isinstance(module, GPT) else (module.backbone, module.head)
    assert isinstance(backbone, GPT)
    assert head is None or isinstance(head, nn.Module)
    classes = [each.__name__ for each in type(module).__mro__]
    if head is not None and pretrained.task not in classes:
        raise InputError(f"{pretrained.folder}: holds a {pretrained.task or 'backbone alone'}, not a {classes[0]}")
    _check_shape(backbone.config, pretrained)
    check_files(pretrained.files, weight_files(pretrained.folder))
    stored = stored_tensors(pretrained.folder)
    views = _views(backbone, head, pretrained, stored)
    _check_names(views, stored, pretrained, with_head=head is not None)
    for name, view in views.items():
        _check_tensor(name, view, stored[name], pretrained)
    with torch.no_grad():
        for name, view in views.items():
            view.copy_(read_tensor(name, stored[name]))
    if pretrained.extra_state is not None and head is not None:
        module.set_extra_state(torch.tensor(pretrained.extra_state, dtype=torch.float64))


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
) -> dict[str, Tensor]:
    """The tensors that the folder must have -> views of our parameters."""
    if pretrained.model_type is None:
        return our_views(backbone, head)
    family, task = FAMILIES[pretrained.model_type], pretrained.task
    # Some, GPT-2's own among them, are stored without a prefix though their class has one.
    prefixes = dict.fromkeys((family.task_prefix(task), "", "model.", "transformer."))
    embedding = embedding_name(pretrained.model_type)
    prefix = next((each for each in prefixes if f"{each}{embedding}" in stored), family.task_prefix(task))
    views = their_views(pretrained.model_type, backbone, prefix)
    if head is not None and task is not None:
        views |= head_views(family.head(task), head, backbone)
    return views


def _check_names(
    views: Mapping[str, Tensor], stored: Mapping[str, Stored], pretrained: Pretrained, *, with_head: bool
) -> None:
    """Refuse missing and surplus tensors; those of a head that is not asked for are neither."""
    folder, model_type, task = pretrained.folder, pretrained.model_type, pretrained.task
    what = f"a {task or 'backbone'} of ours" if model_type is None else FAMILIES[model_type].architecture(task)
    if missing := [name for name in views if name not in stored]:
        raise InputError(f"{folder}: {_some(missing)} of {what} missing in the weights; copy the folder anew")
    head = "head" if model_type is None else FAMILIES[model_type].head(task) if task else None
    # An output layer that is the embedding may be stored once more.
    tied = with_head and task == "CausalLM" and pretrained.config.tie_embeddings
    spare = {f"{head}.weight", f"{head}.bias"} if head and (tied or not with_head) else set()
    surplus = [name for name in stored if name not in views and name not in spare and not _BUFFERS.fullmatch(name)]
    if surplus:
        raise InputError(f"{stored[surplus[0]].file}: {_some(surplus)} too many for {what} of this configuration")
    output, embedding = f"{head}.weight", next(iter(views))
    if tied and output in stored and not _equal(output, embedding, stored):
        raise InputError(
            f"{stored[output].file}: tensor {output} differs from {embedding}, which it is according to its "
            "configuration; set tie_word_embeddings to false there if both are meant"
        )


def _equal(one: str, other: str, stored: Mapping[str, Stored]) -> bool:
    if stored[one].shape != stored[other].shape or stored[one].dtype != stored[other].dtype:
        return False
    return torch.equal(read_tensor(one, stored[one]), read_tensor(other, stored[other]))


def _check_tensor(name: str, view: Tensor, stored: Stored, pretrained: Pretrained) -> None:
    if stored.dtype not in FLOATING:
        raise InputError(f"{stored.file}: tensor {name} is {stored.dtype}; weights are {', '.join(FLOATING)}")
    if stored.shape != view.shape:
        labels = pretrained.labels or []
        named = f", which names {len(labels)} labels" if len(labels) == view.size(0) else ""
        raise InputError(
            f"{stored.file}: tensor {name} is of shape {list(stored.shape)}, not {list(view.shape)} as its "
            f"configuration says{named}"
        )


def _some(names: list[str]) -> str:
    """Names for an error, not too many of them."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"tensor{'s'[: len(names) > 1]} {', '.join(names[:3])}{more} {'are' if len(names) > 1 else 'is'}"
