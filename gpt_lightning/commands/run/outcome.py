"""Checks after a run: it read batches and, for ``fit``, took steps."""

from collections.abc import Sequence

import lightning.pytorch as L

from gpt_lightning import training
from gpt_lightning.errors import InputError
from gpt_lightning.tasks import Task
from gpt_lightning.training.stop_reason import stop_reason


def check_batches(batches: Sequence[int | float], subcommand: str) -> None:
    """Refuse a run without a batch, such as one of an empty loader of a data module of the user's own.

    Args:
        batches: number of batches of each loader.
        subcommand: name of the subcommand, for the message.

    Raises:
        InputError: there was no batch.
    """
    if sum(batches) == 0:
        raise InputError(f"there was no batch to {subcommand}. Check that the data module yields rows for it")


def check_steps(trainer: L.Trainer, task: Task, is_resumed: bool) -> None:
    """Refuse a run that took no step, unless it only had to repeat a validation or was finished already.

    Args:
        trainer: the Trainer after training.
        task: the trained task.
        is_resumed: ``--resume=auto`` was given.

    Raises:
        InputError: no step was taken.
    """
    step = trainer.global_step
    if task.first_step is not None and step > task.first_step:
        return
    if any(isinstance(each, training.Validations) and each.has_repeated for each in trainer.callbacks):  # type: ignore[attr-defined]
        return
    if is_resumed and step > 0:
        print(f"nothing to do: the run has reached step {step} already")
        return
    if trainer.should_stop:
        raise InputError(
            f"no training step was taken: the run stopped at step {step} "
            f"({stop_reason(trainer).removesuffix('.')}). To continue, change this setting or remove it"
        )
    raise InputError(
        f"no training step was taken (the run is at step {step}). "
        "Raise trainer.max_steps, trainer.max_epochs, trainer.max_time or trainer.limit_train_batches"
    )
