"""Callback for validations at the end of training and after an interruption."""

import math
from typing import Any

import lightning.pytorch as L


class Validations(L.Callback):
    """Callback that also validates after the last step, and repeats a validation in which a run was interrupted.

    The final checkpoint thus has metrics at any ``val_check_interval``, and interruptions do not change which
    checkpoint is the best.
    """

    def __init__(self) -> None:
        self.has_repeated = False
        self._is_missing = False
        self._validated_at = -1

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Forget the validations of another run."""
        self._validated_at = -1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Repeat a validation that was interrupted."""
        self._repeat(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Repeat it here if it followed the last step, as training does not start then."""
        self._repeat(trainer)

    def _repeat(self, trainer: L.Trainer) -> None:
        if not self._is_missing:
            return
        self._is_missing, self.has_repeated = False, True
        validation = trainer.fit_loop.epoch_loop.val_loop
        validation.restarting = False  # from its first batch
        trainer.validating = True
        validation.run()
        # Otherwise an epoch that was finished before would never leave its state of restarting.
        validation._has_run = False
        trainer.training = True

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Make Lightning validate after the last batch, and skip a validation that the run has finished before.

        A run that was saved between two micro-batches repeats the first ones. Validating after them once more would
        count twice in ``EarlyStopping``.
        """
        loop = trainer.fit_loop.epoch_loop
        loop._skip_next_val = loop.total_batch_idx <= self._validated_at
        if is_last_step(trainer) and trainer.val_dataloaders:
            trainer.val_check_batch = 1
            trainer._last_val_time = -math.inf  # type: ignore[attr-defined]  # for a time as val_check_interval

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the batch after which the model was validated."""
        if trainer.state.fn == "fit":
            self._validated_at = trainer.fit_loop.epoch_loop.total_batch_idx

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Record the last finished validation, and whether one of these weights is due but not finished."""
        done = self._validated_at == trainer.fit_loop.epoch_loop.total_batch_idx
        checkpoint["validated_at"] = self._validated_at
        checkpoint["validation_missing"] = not done and validation_follows(trainer)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Read which validation was the last, and whether one is due, unless it follows repeated micro-batches."""
        self._validated_at = checkpoint.get("validated_at", -1)
        self._is_missing = checkpoint.get("validation_missing", False) and not checkpoint.get("waiting_batches", 0)


def is_last_step(trainer: L.Trainer) -> bool:
    """Return whether training ends after this step, at its limit of steps or epochs."""
    last_epoch = trainer.current_epoch + 1 == trainer.max_epochs
    return trainer.global_step == trainer.max_steps or (last_epoch and trainer.is_last_batch)


def validation_follows(trainer: L.Trainer) -> bool:
    """Return whether the trainer validates between this batch and the next."""
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    return fetcher is not None and not loop.val_loop.skip and loop._should_check_val_fx(fetcher)
