"""Callback that writes hashes of every optimizer step, to compare two runs."""

import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as L
import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.tasks import Task

KILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)
"""The signal that ends a process at once; on Windows that is SIGTERM."""

PARTS: Final = ("batch", "RNG", "weights", "optimizer")
"""Hashed parts, in the order in which a difference spreads from one to the next."""


class StepRecord(L.Callback):
    """Callback that appends a JSON line for each optimizer step: its number, and the SHA-256 of each of ``PARTS``.

    Args:
        path: file to append to; an existing one must be such a file.
        kill_in: optimizer step in which to kill this process with SIGKILL, to test recovery.
    """

    def __init__(self, path: str, kill_in: int | None = None) -> None:
        self.path = Path(path)
        self.kill_in = kill_in
        self._batches = hashlib.sha256()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Check that the file is new, or that the run before this one wrote it.

        Raises:
            InputError: it is another file.
        """
        if self.path.exists() and not _is_record(self.path):
            raise InputError(f"StepRecord: {self.path} already exists. Choose another file")

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Add the batch to its hash."""
        update(self._batches, batch)

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Kill the process if this is step ``kill_in``."""
        if trainer.global_step + 1 == self.kill_in:
            os.kill(os.getpid(), KILL)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Append the line of an optimizer step that this batch finished."""
        assert isinstance(pl_module, Task)
        if pl_module.is_accumulating or not trainer.is_global_zero:
            return
        hashes = [self._batches, hashlib.sha256(), hashlib.sha256(), hashlib.sha256()]
        update(hashes[1], torch.get_rng_state())
        update(hashes[2], pl_module.state_dict())
        update(hashes[3], trainer.optimizers[0].state_dict())
        record = {name: each.hexdigest() for name, each in zip(PARTS, hashes, strict=True)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": trainer.global_step, **record}) + "\n")
        self._batches = hashlib.sha256()


def _is_record(path: Path) -> bool:
    """Return whether a file begins with a line of a ``StepRecord``, or is empty."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        line = file.readline(4096)
    try:
        return not line or json.loads(line).keys() == {"step", *PARTS}
    except (ValueError, AttributeError, RecursionError):
        return False


def update(digest: Any, value: Any) -> None:
    """Add tensors and plain values to a hash, also those in nested mappings and lists."""
    if isinstance(value, Tensor):
        array = value.detach().cpu().contiguous()
        digest.update(f"{array.dtype} {tuple(array.shape)}".encode())
        digest.update(array.flatten().view(torch.uint8).numpy())
    elif isinstance(value, dict):
        for key, item in value.items():
            digest.update(str(key).encode())
            update(digest, item)
    elif isinstance(value, list | tuple):
        for item in value:
            update(digest, item)
    else:
        digest.update(repr(value).encode())
