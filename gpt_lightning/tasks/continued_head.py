"""Continuation of the trained head of another run of the same task."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from gpt_lightning.checkpoints.read import find_checkpoint, read_checkpoint
from gpt_lightning.models import huggingface
from gpt_lightning.models.huggingface import HuggingFaceHead
from gpt_lightning.models.huggingface.tensor_files import read_tensor, stored_tensors

_SAME: Final = ("pooling", "multi_label")
"""Arguments of a task that determine the input or the meaning of its head."""
_MAX_NAMES: Final = 10


def continue_head(
    head: nn.Module, hparams: Mapping[str, Any], source: str, huggingface_head: HuggingFaceHead | None
) -> tuple[str, dict[str, Any]]:
    """Load the weights of a head that was trained for the same task, with the outputs matched by their labels.

    Outputs of labels that the other head lacks keep their initial weights.

    Args:
        head: head to fill.
        hparams: hyper-parameters of the task.
        source: model, as for ``find_checkpoint``.
        huggingface_head: Hugging Face head that corresponds to the task.

    Returns:
        A line about it, empty if ``source`` has another task; and the hyper-parameters of ``source``, empty if its head
        does not fit.
    """
    path = find_checkpoint(source)
    saved_hparams, saved = _saved_head(path, huggingface_head)
    if not saved or _name(saved_hparams.get("task", hparams["task"])) != _name(hparams["task"]):
        return "", {}
    for name in _SAME:
        if name in saved_hparams and saved_hparams[name] != hparams.get(name):
            return f"new head, as {path} has {name}={saved_hparams[name]} instead of {hparams.get(name)}", {}
    old, new = saved_hparams.get("labels"), hparams.get("labels")
    current = head.state_dict()
    if not _fit(saved, current, old, new):
        return f"new head, as that of {path} has another shape", {}
    if old is None or new is None:
        head.load_state_dict(saved)
        return f"head continued from {path}", saved_hparams
    old_rows, new_rows = ({label: row for row, label in enumerate(labels)} for labels in (old, new))
    kept = [label for label in new if label in old_rows]
    for name, tensor in current.items():
        tensor[[new_rows[label] for label in kept]] = saved[name][[old_rows[label] for label in kept]].to(tensor)
    return _summary(path, old_rows, new_rows, kept), saved_hparams


def _saved_head(path: Path, huggingface_head: HuggingFaceHead | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the hyper-parameters of a model and the weights of its head, which are empty if it has another head."""
    if path.is_file():
        checkpoint = read_checkpoint(path)
        state = checkpoint["state_dict"].items()
        weights = {name.removeprefix("head."): value for name, value in state if name.startswith("head.")}
        return checkpoint["hyper_parameters"], weights
    pretrained = huggingface.read_config(path)
    if pretrained.family is not None and (pretrained.head is None or pretrained.head is not huggingface_head):
        return pretrained.hparams, {}
    if pretrained.family is None or pretrained.head is None:
        prefix = "head."
    else:
        prefix = f"{pretrained.family.head_module(pretrained.head)}."
    stored = stored_tensors(path).items()
    weights = {name.removeprefix(prefix): read_tensor(name, at) for name, at in stored if name.startswith(prefix)}
    return pretrained.hparams, weights


def _name(task: str) -> str:
    """Return the name of a task's class; checkpoints of version 0.1 have no more."""
    return task.rpartition(".")[2]


def _fit(
    saved: Mapping[str, Tensor],
    current: Mapping[str, Tensor],
    old: Sequence[str] | None,
    new: Sequence[str] | None,
) -> bool:
    """Return whether the weights of two heads have the same shapes, apart from the number of labels."""
    if saved.keys() != current.keys() or (old is None) != (new is None):
        return False
    if old is None or new is None:
        return all(saved[name].shape == tensor.shape for name, tensor in current.items())
    return all(
        len(saved[name]) == len(old) and len(tensor) == len(new) and saved[name].shape[1:] == tensor.shape[1:]
        for name, tensor in current.items()
    )


def _summary(path: Path, old: Mapping[str, int], new: Mapping[str, int], kept: Sequence[str]) -> str:
    """Return a line about the labels whose weights continue, are new, or are left out."""
    parts = [f"head continued from {path} for {len(kept):,} of {len(new):,} labels"]
    for text, labels in (
        ("new", [label for label in new if label not in old]),
        ("left out", [label for label in old if label not in new]),
    ):
        if labels:
            parts.append(f"{text}: {', '.join(map(repr, labels[:_MAX_NAMES]))}{', …' * (len(labels) > _MAX_NAMES)}")
    return "; ".join(parts)
