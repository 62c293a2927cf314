"""Callback that measures tokens per second, model FLOPs utilization and memory."""

import time
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.utilities.throughput import get_available_flops

from gpt_lightning.tasks import Task
from gpt_lightning.training.peak_memory import peak_memory_gb

DTYPES = {
    "bf16-mixed": torch.bfloat16,
    "bf16-true": torch.bfloat16,
    "16-mixed": torch.float16,
    "16-true": torch.float16,
}
"""What matrices are multiplied in, at each of the Trainer's precisions; float32 at all others."""


def measured_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a matrix product: the best of a few."""
    # Large enough to hide the start of a kernel; small where a processor emulates the type.
    size, products = (8192, 10) if device.type != "cpu" else (1024 if dtype == torch.float32 else 256, 1)
    a = torch.randn(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(products):
            b = a @ a
        b[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return products * 2 * size**3 / best


def peak_flops(device: torch.device, precision: str) -> float:
    """What one device can do: from Lightning's table for GPUs that it knows, measured for all others."""
    dtype = DTYPES.get(precision, torch.float32)
    known = get_available_flops(device, dtype) if device.type == "cuda" else None
    return float(known) if known else measured_flops(device, dtype)


class Throughput(L.Callback):
    """Logs tokens seen, tokens a second, model FLOPs utilisation (MFU, in [0, 1]) and peak memory.

    Time spent in validation and on marks does not count. MFU is what the model's arithmetic would need, over what the
    devices could do in that time (Chowdhery et al. 2022, arXiv:2204.02311).
    """

    def __init__(self) -> None:
        self.tokens_seen = 0
        self._tokens_since = 0
        self._since = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Find out what the devices can do."""
        assert isinstance(pl_module, Task)
        peak = peak_flops(pl_module.device, str(trainer.precision)) * trainer.world_size
        self._peak_tokens_per_second = peak / pl_module.flops_per_token()
        self._restart_clock()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count, and log at the trainer's interval."""
        tokens = batch["input_ids"].numel() * trainer.world_size
        self.tokens_seen += tokens
        self._tokens_since += tokens
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        assert isinstance(pl_module, Task)
        if trainer.global_step % every or pl_module.is_accumulating:
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        speed = self._tokens_since / (time.perf_counter() - self._since)
        pl_module.log("train/tokens", float(self.tokens_seen))
        pl_module.log("train/tokens_per_second", speed, prog_bar=True)
        pl_module.log("train/mfu", speed / self._peak_tokens_per_second)
        pl_module.log("train/peak_memory_gb", peak_memory_gb(pl_module.device))
        self._restart_clock()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock anew."""
        self._restart_clock()

    def leave_out(self, seconds: float) -> None:
        """Do not count these seconds: something else than training was done."""
        self._since += seconds

    def state_dict(self) -> dict[str, Any]:
        """Tokens seen so far."""
        return {"tokens_seen": self.tokens_seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.tokens_seen = state_dict["tokens_seen"]

    def _restart_clock(self) -> None:
        self._tokens_since, self._since = 0, time.perf_counter()
