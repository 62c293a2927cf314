"""Callback that measures tokens per second, model FLOPs utilization and memory."""

import time
from typing import Any

import lightning.pytorch as L
import torch

from gpt_lightning.tasks import Task
from gpt_lightning.tasks.tags import MFU, PEAK_MEMORY_GB, TOKENS, TOKENS_PER_SECOND
from gpt_lightning.training.peak_flops import peak_flops
from gpt_lightning.training.peak_memory import peak_memory_gb


class Throughput(L.Callback):
    """Callback that logs the number of tokens, tokens per second, model FLOPs utilization (MFU) and peak memory.

    Time spent in validation and in lm-evaluation-harness does not count. MFU is the floating-point operations that the
    model needs, divided by those that the devices could have done in the same time (Chowdhery et al. 2022,
    arXiv:2204.02311). It lies in [0, 1]: training that is faster than the measured peak raises that peak.
    """

    def __init__(self) -> None:
        self.tokens_seen = 0
        self._tokens_since = 0
        self._since = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look up or measure the peak of the devices."""
        assert isinstance(pl_module, Task)
        peak = peak_flops(pl_module.device, str(trainer.precision)) * trainer.world_size
        self._peak_tokens_per_second = peak / pl_module.flops_per_token()
        self._restart_clock()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count tokens, padding included, and log every ``log_every_n_steps``."""
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
        self._peak_tokens_per_second = max(self._peak_tokens_per_second, speed)
        pl_module.log(TOKENS, float(self.tokens_seen))
        pl_module.log(TOKENS_PER_SECOND, speed, prog_bar=True)
        pl_module.log(MFU, speed / self._peak_tokens_per_second)
        pl_module.log(PEAK_MEMORY_GB, peak_memory_gb(pl_module.device))
        self._restart_clock()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Restart the clock."""
        self._restart_clock()

    def exclude(self, seconds: float) -> None:
        """Exclude this many seconds, which were not spent on training."""
        self._since += seconds

    def state_dict(self) -> dict[str, Any]:
        """Return the number of tokens seen so far."""
        return {"tokens_seen": self.tokens_seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue to count from the checkpoint's number of tokens."""
        self.tokens_seen = state_dict["tokens_seen"]

    def _restart_clock(self) -> None:
        self._tokens_since, self._since = 0, time.perf_counter()
