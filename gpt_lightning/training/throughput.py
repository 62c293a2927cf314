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

    The first step does not count, because compilation makes it slow. Neither does the time of validations, of the
    callbacks that follow them, and of lm-evaluation-harness.

    MFU is the floating-point operations that the model needs, divided by those that the devices could have done in the
    same time (Chowdhery et al. 2022, arXiv:2204.02311). A measured peak is too low if the machine was busy at the time.
    A step that is faster than the peak logs no MFU.
    """

    def __init__(self) -> None:
        self.tokens_seen = 0
        self._tokens_of_step = 0
        self._tokens_since = 0
        self._since: float | None = None
        self._logged_speed: float | None = None
        self._follows_validation = False

    @property
    def tokens_per_second(self) -> float | None:
        """Throughput that was logged last; before the first log, the throughput so far. None if it is unknown."""
        return self._logged_speed or self._measure()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look up or measure the peak of the devices."""
        assert isinstance(pl_module, Task)
        peak = peak_flops(pl_module.device, str(trainer.precision)) * trainer.world_size
        self._peak_tokens_per_second = peak / pl_module.flops_per_token()
        self._since = self._logged_speed = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restart the clock after a validation and the callbacks that follow it."""
        if self._follows_validation and self._since is not None:
            self._restart_clock()
        self._follows_validation = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count tokens, padding included, and log every ``log_every_n_steps``."""
        tokens = batch["input_ids"].numel() * trainer.world_size
        self._tokens_of_step += tokens
        self._tokens_since += tokens
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        assert isinstance(pl_module, Task)
        if pl_module.is_accumulating:
            return
        self.tokens_seen += self._tokens_of_step
        self._tokens_of_step = 0
        is_first, is_logged = self._since is None, bool(every) and trainer.global_step % every == 0
        if not (is_first or is_logged):
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        if is_logged:
            self._log(pl_module)
        self._restart_clock()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the clock restart with the next batch."""
        self._follows_validation = True

    def exclude(self, seconds: float) -> None:
        """Exclude this many seconds, which were not spent on training."""
        if self._since is not None:
            self._since += seconds

    def state_dict(self) -> dict[str, Any]:
        """Return the tokens of finished steps. A resumed run repeats the micro-batches of an unfinished one."""
        return {"tokens_seen": self.tokens_seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue to count from the checkpoint's number of tokens."""
        self.tokens_seen = state_dict["tokens_seen"]

    def _log(self, task: Task) -> None:
        task.log(TOKENS, float(self.tokens_seen))
        task.log(PEAK_MEMORY_GB, peak_memory_gb(task.device))
        speed = self._measure()
        if speed is None:
            return
        self._logged_speed = speed
        task.log(TOKENS_PER_SECOND, speed, prog_bar=True)
        if speed <= self._peak_tokens_per_second:
            task.log(MFU, speed / self._peak_tokens_per_second)

    def _measure(self) -> float | None:
        """Return the throughput since the clock was restarted; None without a step since then."""
        if self._since is None or not self._tokens_since:
            return None
        return self._tokens_since / (time.perf_counter() - self._since)

    def _restart_clock(self) -> None:
        self._tokens_since, self._since = 0, time.perf_counter()
