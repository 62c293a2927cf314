"""Loading of a trained model."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt_lightning.api.model import Model
from gpt_lightning.checkpoints.run_config import remembered_settings
from gpt_lightning.data.base import DataModule
from gpt_lightning.data.find import named_data_module
from gpt_lightning.models.device import device_of
from gpt_lightning.tasks.load import find_checkpoint, read_checkpoint, task_from_checkpoint


def load(
    path: str | Path, *, device: str = "auto", init_from: str | None = None, allow_import: Sequence[str] = ()
) -> Model:
    """Load a trained model.

    Args:
        path: run folder (its best checkpoint is loaded), checkpoint file, model folder (exported or from Hugging
            Face), or ``hub:OWNER/NAME``.
        device: ``cpu``, ``cuda``, ``mps``, or ``auto`` for an accelerator if there is one.
        init_from: new location of the base model of its LoRA adapters, if it has moved.
        allow_import: your packages that the task's class may be imported from. A class that your program has already
            imported needs no permission.

    Raises:
        InputError: the model does not exist, is damaged, or its class may not be imported.
    """
    checkpoint_path = find_checkpoint(str(path))
    checkpoint = read_checkpoint(checkpoint_path, allow_import)
    task, tokenizer = task_from_checkpoint(checkpoint_path, checkpoint, init_from, allow_import)
    data_module = _data_module_of(checkpoint, allow_import)
    settings = remembered_settings(checkpoint_path, data_module)
    return Model(task.to(device_of(device)), tokenizer, checkpoint_path, data_module, settings)


def _data_module_of(checkpoint: Mapping[str, Any], allow_import: Sequence[str]) -> type[DataModule] | None:
    """Return the data module that a checkpoint names if it may be imported or is already imported, else None."""
    path = str(checkpoint.get("data", ""))
    package = path.rpartition(".")[0]
    found = named_data_module(path, [*allow_import, *([package] if package in sys.modules else [])])
    return found if found is not None and issubclass(found, DataModule) else None
