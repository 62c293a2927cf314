"""Names of the metrics that loggers receive, and the names that they had before version 0.2.

TensorBoard groups tags by the part before the slash, sorts the groups by name, and expands the first two. Loss and
quality are in ``train/`` and ``val/``, so the names of all other groups sort after ``val``.
"""

import re
import warnings
from collections.abc import Mapping
from typing import Any, Final

from torchmetrics import Metric

LEARNING_RATE: Final = "weight_update/learning_rate"
GRADIENT_NORM: Final = "weight_update/gradient_norm"
TOKENS_PER_SECOND: Final = "workload/tokens_per_second"
MFU: Final = "workload/mfu"
PEAK_MEMORY_GB: Final = "workload/peak_memory_gb"
EPOCH: Final = "x_axis/epoch"
TOKENS: Final = "x_axis/tokens"

GRADIENT_NORMS: Final = "weights_gradient_norm"
UPDATE_RATIOS: Final = "weights_update_ratio"
ATTENTION_LOGITS: Final = "weights_attention_logit"
LOSS_BY_POSITION: Final = "val_loss_by_position"
LOSS_BY_FREQUENCY: Final = "val_loss_by_token_frequency"
LOSS_BY_LENGTH: Final = "val_loss_by_document_length"
CURVES: Final = "val_curves"
FINAL: Final = "val_final"
DIAGNOSTIC_GROUPS: Final = (
    GRADIENT_NORMS,
    UPDATE_RATIOS,
    ATTENTION_LOGITS,
    LOSS_BY_POSITION,
    LOSS_BY_FREQUENCY,
    LOSS_BY_LENGTH,
)
"""Groups of diagnostics, each with a tag for every layer or range of values, such as ``weights_update_ratio/head``."""

CONFIG: Final = "yaml/config"

FORMER_TAGS: Final = {
    "train/learning_rate": LEARNING_RATE,
    "train/gradient_norm": GRADIENT_NORM,
    "train/tokens_per_second": TOKENS_PER_SECOND,
    "train/mfu": MFU,
    "train/peak_memory_gb": PEAK_MEMORY_GB,
    "train/tokens": TOKENS,
}
"""Former tag -> tag."""


def current_tag(tag: str, former_names: Mapping[str, str], metric: Metric) -> str:
    """Return the tag of this version for a tag of any version.

    Args:
        tag: such as ``val/f1``.
        former_names: the task's former names of metrics -> their names.
        metric: the task's metric. A name that it computes is current, and is not replaced by one that it lacks.
    """
    stage, _, name = tag.partition("/")
    if stage not in ("val", "test") or name not in former_names:
        return FORMER_TAGS.get(tag, tag)
    names, new = computed_names(metric), former_names[name]
    return f"{stage}/{new}" if new in names and name not in names else tag


def computed_names(metric: Metric) -> set[str]:
    """Return the names of the values that a metric computes, without changing its state."""
    copy = metric.clone()
    copy.sync_on_compute = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics warns that the metric has seen no batch
        return set(copy.compute())


def rename_callback_states(states: dict[str, Any], former_names: Mapping[str, str], metric: Metric) -> None:
    """Rename the monitors in the keys of a checkpoint's callback states, in place.

    Lightning finds the state of ``EarlyStopping`` by such a key, ``EarlyStopping{'monitor': 'val/f1', 'mode': 'max'}``.
    """
    for key in list(states):
        new = re.sub(r"(?<='monitor': ')[^']*", lambda found: current_tag(found[0], former_names, metric), key)
        states[new] = states.pop(key)
