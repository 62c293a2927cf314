"""Callback that makes random numbers depend only on the position in training."""

import hashlib
import os
from typing import Any

import lightning.pytorch as L
import torch


class RandomnessByPosition(L.Callback):
    """Callback that seeds torch before every batch, from the run's seed, the rank, the epoch and the batch index.

    Lightning's checkpoints do not contain the state of random number generators, and none is needed this way. Neither
    an interruption nor a validation nor a sample changes the dropout of a batch.
    """

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed the generators of the CPU and of the device in use."""
        seed = os.environ.get("PL_GLOBAL_SEED", "0")
        position = f"{seed} {trainer.global_rank} {trainer.current_epoch} {batch_idx}"
        number = int.from_bytes(hashlib.sha256(position.encode()).digest()[:8], "little") >> 1
        # torch.manual_seed seeds all kinds of devices. Before CUDA is initialized, each call stores a stack trace.
        torch.default_generator.manual_seed(number)
        if pl_module.device.type != "cpu":
            torch.get_device_module(pl_module.device).manual_seed(number)
