"""Identity of the training rows and their order, so that no run resumes with different ones."""

import os
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L

from gpt_lightning.data.base import DataModule
from gpt_lightning.printable import printable
from gpt_lightning.tasks.accumulation import accumulation


def identity(trainer: L.Trainer) -> dict[str, Any]:
    """Return a dict from configuration keys to plain values; empty for data modules from outside this package."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, DataModule) or trainer.state.fn != "fit":
        return {}
    return {
        **data.identity(),
        "seed_everything": os.environ.get("PL_GLOBAL_SEED", "0"),
        "trainer.accumulate_grad_batches": accumulation(trainer),
        "trainer.devices * num_nodes": trainer.world_size,
    }


def differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return a phrase for each difference between a checkpoint's identity and the current one."""
    return [
        f"{key} has changed"
        if key == "data.train"
        else f"{key} was {printable(str(saved[key]))}, now it is {current[key]}"
        for key in current
        if key in saved and saved[key] != current[key]
    ]
