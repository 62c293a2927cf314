"""State and remaining time of a training run."""

import math
import time
from typing import NamedTuple

import lightning.pytorch as L

from gpt_lightning.tasks.accumulation import num_steps


class Status(NamedTuple):
    """State of training at one optimizer step."""

    step: int
    """Optimizer steps done, including those before a resume."""
    total: int | None
    """Optimizer steps of the whole run; None if nothing limits them."""
    epoch: str
    """Epoch and number of epochs, such as ``epoch 2/8``; empty if only the steps are limited."""
    loss: float | None
    """Mean training loss on this rank since it was last logged; None without labels."""
    tokens_per_second: float | None
    """Throughput of all ranks, as ``Throughput`` measures it; None without that callback."""
    seconds_left: float | None

    @property
    def remaining(self) -> str:
        """Remaining time, such as ``1:02:03 left``; empty if it is unknown."""
        return "" if self.seconds_left is None else f"{duration(self.seconds_left)} left"

    @property
    def measurements(self) -> str:
        """Loss and throughput, as far as they are known."""
        loss = None if self.loss is None else f"loss {self.loss:.4f}"
        speed = None if self.tokens_per_second is None else f"{self.tokens_per_second:,.0f} tokens/s"
        return ", ".join(filter(None, (loss, speed)))


class Pace:
    """Clock that estimates the remaining time.

    The first step is left out, because compilation makes it slow. Validations count at the rate seen so far.

    Args:
        step: optimizer steps done before the clock starts.
        total: optimizer steps of the whole run; None if nothing limits them.
    """

    def __init__(self, step: int, total: int | None) -> None:
        self.total = total
        self._first_step = step + 1
        self._start: float | None = None

    def finish_step(self) -> None:
        """Start the clock after the first step."""
        if self._start is None:
            self._start = time.monotonic()

    def is_measured(self, step: int) -> bool:
        """Return whether a step after the first one is done."""
        return self._start is not None and step > self._first_step

    def seconds_left(self, step: int) -> float | None:
        """Return the remaining time of the run after ``step``, or None while it is unknown."""
        if self._start is None or self.total is None or not self.is_measured(step):
            return None
        return (self.total - step) * (time.monotonic() - self._start) / (step - self._first_step)


def total_steps(trainer: L.Trainer) -> int | None:
    """Return the optimizer steps of the whole run, including those before a resume; None if nothing limits them."""
    total = num_steps(trainer)
    return int(total) if 0 <= total < math.inf else None


def position(step: int, total: int | None) -> str:
    """Return step and number of steps, such as ``410/2000``."""
    return str(step) if total is None else f"{step}/{total}"


def epoch_of(trainer: L.Trainer) -> str:
    """Return epoch and number of epochs, such as ``epoch 2/8``; empty if epochs do not end the run."""
    limit = trainer.max_epochs
    return "" if limit is None or limit < 1 else f"epoch {min(trainer.current_epoch + 1, limit)}/{limit}"


def duration(seconds: float) -> str:
    """Return a duration as ``minutes:seconds`` or ``hours:minutes:seconds``."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
