"""Data modules that read rows for a trained task."""

from collections.abc import Mapping
from typing import Any

from gpt_lightning.checkpoints.run_config import RememberedSettings
from gpt_lightning.data.base import DataModule
from gpt_lightning.data.labels import SavedLabels
from gpt_lightning.tasks import Task
from gpt_lightning.tasks.restore import from_plain
from gpt_lightning.tasks.saving import accepted_arguments


def data_module_for(
    task: Task, kind: type[DataModule], data_settings: RememberedSettings, settings: Mapping[str, Any]
) -> DataModule:
    """Build a data module with the arguments that it takes from a task, such as its labels.

    Args:
        task: the task.
        kind: class of the data module.
        data_settings: how the rows that the task was trained on were read; what ``kind`` lacks is ignored.
        settings: arguments that win over all others.
    """
    arguments = _flatten(dict(task.hparams))
    links = kind.takes_from_model.items()
    linked = {name: arguments[key] for name, key in links if key in arguments}
    names, accepted = task.takes_from_data.items(), accepted_arguments(kind)
    linked |= {name: arguments[key] for key, name in names if key in arguments and name in accepted}
    if "model_labels" in accepted and "labels" in linked:
        linked["model_labels"] = SavedLabels(linked.pop("labels")).to_json()
    remembered = {name: value for name, value in data_settings.items() if name in accepted}
    return kind(**{**remembered, **from_plain(kind, linked), **settings})


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted name, such as ``backbone.block_size``, and each group by its own name."""
    flat = {f"{prefix}{name}": value for name, value in values.items()}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
    return flat
