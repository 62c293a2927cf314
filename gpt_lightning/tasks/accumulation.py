"""Gradient accumulation with ``GradientAccumulationScheduler``, and the number of steps of a run with it."""

import math
from collections.abc import Iterator

import lightning.pytorch as L
from lightning.pytorch.callbacks import GradientAccumulationScheduler


def accumulation(trainer: L.Trainer) -> int | str:
    """Return the number of micro-batches per optimizer step; with a scheduler, its table as text."""
    scheduler = _scheduler(trainer)
    return trainer.accumulate_grad_batches if scheduler is None else str(dict(sorted(scheduler.scheduling.items())))


def resume_accumulation(trainer: L.Trainer) -> None:
    """Apply the scheduler to the current epoch. Lightning does so at the start of an epoch only, not on a resume."""
    scheduler = _scheduler(trainer)
    if scheduler is not None:
        trainer.accumulate_grad_batches = scheduler.get_accumulate_grad_batches(trainer.current_epoch)


def num_steps(trainer: L.Trainer) -> int | float:
    """Return the number of optimizer steps of a run, including those before a resume; infinity without a limit.

    This is ``estimated_stepping_batches``, which takes the current accumulation for that of every epoch.
    """
    limit, scheduler = trainer.estimated_stepping_batches, _scheduler(trainer)
    batches, max_epochs = trainer.num_training_batches, trainer.max_epochs
    if scheduler is None or max_epochs is None or max_epochs == -1 or batches == math.inf:
        return limit
    steps = sum(_steps_per_epoch(scheduler, int(batches), max_epochs))
    return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)


def _steps_per_epoch(scheduler: GradientAccumulationScheduler, batches: int, max_epochs: int) -> Iterator[int]:
    for epoch in range(max(max_epochs, 1)):
        yield math.ceil(batches / scheduler.get_accumulate_grad_batches(epoch))


def _scheduler(trainer: L.Trainer) -> GradientAccumulationScheduler | None:
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((each for each in callbacks if isinstance(each, GradientAccumulationScheduler)), None)
