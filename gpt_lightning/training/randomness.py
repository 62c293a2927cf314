"""Random seeds that depend on the position in training only."""

import hashlib
import os
from typing import Any

import lightning.pytorch as L
import torch


class RandomnessByPosition(L.Callback):
    """Seeds torch anew before every batch, from (seed, rank, epoch, batch).

    Lightning's checkpoints hold no state of the random number generators. So that dropout after a resume is what it
    would have been without the interruption, no state is needed: neither an interruption, nor how often validation
    ran or a sample was drawn, moves the numbers that a batch gets.
    """

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed for this batch."""
        seed = os.environ.get("PL_GLOBAL_SEED", "0")
        position = f"{seed} {trainer.global_rank} {trainer.current_epoch} {batch_idx}"
        number = int.from_bytes(hashlib.sha256(position.encode()).digest()[:8], "little") >> 1
        # torch.manual_seed seeds every kind of device, and where CUDA has not started it keeps a stack trace each time.
        torch.default_generator.manual_seed(number)
        if pl_module.device.type != "cpu":
            torch.get_device_module(pl_module.device).manual_seed(number)
