"""Weights of labels in the loss, given by name or balanced by the number of training rows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from gpt_lightning.errors import InputError

ClassWeights = Literal["balanced"] | dict[str, float] | None
"""Label -> weight, 1 for unnamed labels; or ``balanced``."""


def check_class_weights(weights: ClassWeights, labels: Sequence[str]) -> None:
    """Check that weights are finite and not negative, and that their labels exist.

    Raises:
        InputError: they are not.
    """
    if not isinstance(weights, dict):
        return
    check_names(weights, labels, "class_weights")
    if bad := {label: weight for label, weight in weights.items() if not 0.0 <= weight < math.inf}:
        raise InputError(f"--model.class_weights={bad}: weights must be finite and 0 or more")


def check_names(values: Mapping[str, float], labels: Sequence[str], argument: str) -> None:
    """Check that the keys of an argument are labels.

    Raises:
        InputError: a key is not a label.
    """
    if unknown := set(values) - set(labels):
        shown = f"{labels[:20]}{', ...' * (len(labels) > 20)}"
        raise InputError(
            f"--model.{argument} has unknown labels: {', '.join(sorted(map(str, unknown)))}. "
            f"The labels of the data are {shown}"
        )


def weights_tensor(weights: Mapping[str, float] | None, labels: Sequence[str]) -> Tensor:
    """Return the weight of each label, (L,) float32; 1 for unnamed labels."""
    return torch.tensor([(weights or {}).get(label, 1.0) for label in labels])


def balanced_weights(datamodule: Any, labels: Sequence[str], *, multi_label: bool = False) -> dict[str, float]:
    """Return the weight of each label that balances the training rows.

    They are those of scikit-learn's ``compute_class_weight``: n / (k * count) for n rows with k different labels. With
    ``multi_label`` each label is a choice between presence and absence. The ratio of both weights, (n - count) / count,
    is the weight of its presence. Labels that no row has, or all rows have, get the weight 1.

    Args:
        datamodule: data module with a method ``label_counts``.
        labels: names of the labels.
        multi_label: True if a row may have several labels.

    Raises:
        InputError: the data module does not count labels.
    """
    if not hasattr(datamodule, "label_counts"):
        raise InputError(
            f"--model.class_weights=balanced: {type(datamodule).__name__} has no method label_counts. Give the weights "
            "as label: weight"
        )
    counts, num_rows = datamodule.label_counts()
    present = {label: counts[label] for label in labels if counts.get(label)}
    if multi_label:
        balanced = {label: (num_rows - count) / count for label, count in present.items() if count < num_rows}
    else:
        balanced = {label: num_rows / (len(present) * count) for label, count in present.items()}
    return {label: balanced.get(label, 1.0) for label in labels}
