"""Learning-rate schedules: warmup, then constant, linear, cosine or warmup-stable-decay."""

import math
from dataclasses import dataclass
from typing import Final, Literal

from gpt_lightning.errors import InputError
from gpt_lightning.ranges import check_count

_ENDLESS: Final = ("constant",)
"""Kinds that do not depend on the length of the run."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning-rate schedule: a linear warmup, then a decay.

    The rate depends only on the optimizer step and on these settings, so a resumed run follows the settings given now.

    Attributes:
        kind: shape after the warmup. ``cosine`` (Loshchilov & Hutter 2016, arXiv:1608.03983) and ``linear`` decay until
            the end of the run; ``constant`` does not decay; ``wsd`` is warmup-stable-decay, which holds the peak and
            then decays linearly, for runs that may be extended later (Hu et al. 2024,
            arXiv:2404.06395).
        warmup_steps: number of optimizer steps over which the rate rises linearly to its peak. At most half of the
            schedule is warmup. Use more steps if the loss spikes early.
        decay_steps: for ``wsd``: number of optimizer steps of the final decay; null takes ``decay_ratio``.
        decay_ratio: for ``wsd``: fraction of the schedule that is decay, in [0, 1].
        min_ratio: final learning rate as a fraction of the peak rate, in [0, 1].
        total_steps: optimizer step at which the decay ends; null takes the length of the run. Set it to keep the
            schedule when you change the length of the run.
    """

    kind: Literal["constant", "linear", "cosine", "wsd"] = "cosine"
    warmup_steps: int = 100
    decay_steps: int | None = None
    decay_ratio: float = 0.2
    min_ratio: float = 0.1
    total_steps: int | None = None

    def __post_init__(self) -> None:
        check_count("schedule.warmup_steps", self.warmup_steps, least=0)
        if self.decay_steps is not None:
            check_count("schedule.decay_steps", self.decay_steps, least=0)
        if self.total_steps is not None:
            check_count("schedule.total_steps", self.total_steps)
        for name in ("decay_ratio", "min_ratio"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"schedule.{name}={getattr(self, name)} must lie in [0, 1]")

    @property
    def needs_end(self) -> bool:
        """True if the schedule depends on the length of the run."""
        return self.kind not in _ENDLESS and self.total_steps is None

    def ratio(self, step: int, run_steps: int) -> float:
        """Return the ratio of the learning rate to its peak.

        Args:
            step: optimizer step, counted from 0.
            run_steps: length of the run in optimizer steps.
        """
        total = self.total_steps or run_steps
        # The warmup takes at most half of the run, so that short test runs get past it.
        warmup = min(self.warmup_steps, total // 2)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if self.kind == "constant":
            return 1.0
        start = warmup
        if self.kind == "wsd":
            decay = int(total * self.decay_ratio) if self.decay_steps is None else self.decay_steps
            start = max(warmup, total - decay)
        progress = min(1.0, max(0, step - start) / max(1, total - start))
        fall = 0.5 * (1.0 + math.cos(math.pi * progress)) if self.kind == "cosine" else 1.0 - progress
        return self.min_ratio + (1.0 - self.min_ratio) * fall
