"""Learning-rate schedules: warmup, then constant, linear, cosine or warmup-stable-decay."""

import math
from dataclasses import dataclass
from typing import Final, Literal

from gpt_lightning.errors import InputError

_ENDLESS: Final = ("constant",)
"""Kinds that do not depend on the length of the run."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Warmup, then a decay. Without state: a resumed run continues where the step says, with the rates given now.

    Attributes:
        kind: ``constant``; ``linear`` or ``cosine`` (Loshchilov & Hutter 2016, arXiv:1608.03983) from the end of the
            warmup to the end of the run; ``wsd``: warmup, stable, then a linear decay (Hu et al. 2024,
            arXiv:2404.06395).
        warmup_steps: optimizer steps over which the rate rises linearly to its peak.
        decay_steps: ``wsd`` only: optimizer steps of the final decay; None takes ``decay_ratio``.
        decay_ratio: ``wsd`` only: the final decay as a part of the run, in [0, 1].
        min_ratio: the final rate, as a part of the peak.
        total_steps: the step at which the decay ends; None takes the length of the run.
    """

    kind: Literal["constant", "linear", "cosine", "wsd"] = "cosine"
    warmup_steps: int = 100
    decay_steps: int | None = None
    decay_ratio: float = 0.2
    min_ratio: float = 0.1
    total_steps: int | None = None

    def __post_init__(self) -> None:
        if self.warmup_steps < 0 or (self.decay_steps is not None and self.decay_steps < 0):
            raise InputError("schedule.warmup_steps and schedule.decay_steps must be 0 or more")
        if self.total_steps is not None and self.total_steps < 1:
            raise InputError(f"schedule.total_steps={self.total_steps} must be at least 1; null takes the run's length")
        for name in ("decay_ratio", "min_ratio"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"schedule.{name}={getattr(self, name)} must lie in [0, 1]")

    @property
    def needs_end(self) -> bool:
        """Whether the run must have an end, because nothing else says when the decay ends."""
        return self.kind not in _ENDLESS and self.total_steps is None

    def ratio(self, step: int, run_steps: int) -> float:
        """What the peak rate is multiplied with at ``step`` (from 0) of a run of ``run_steps`` optimizer steps."""
        total = self.total_steps or run_steps
        # A run that was shortened to try something out should still leave its warmup.
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
