"""What identifies the rows of training and their order, so that no run resumes with others."""

import os
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L

from gpt_lightning.data.base import DataModule


def identity(trainer: L.Trainer) -> dict[str, Any]:
    """Key of the configuration -> plain value; empty for a data module of the user's own."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, DataModule) or trainer.state.fn != "fit":
        return {}
    return {
        **data.identity(),
        "seed_everything": os.environ.get("PL_GLOBAL_SEED", "0"),
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
        "trainer.devices * num_nodes": trainer.world_size,
    }


def differences(saved: Mapping[str, Any], mine: Mapping[str, Any]) -> list[str]:
    """What differs, in words."""
    return [
        f"{key} has changed" if key == "data.train" else f"{key} was {saved[key]}, now it is {mine[key]}"
        for key in mine
        if key in saved and saved[key] != mine[key]
    ]
