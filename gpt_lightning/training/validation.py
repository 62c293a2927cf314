"""Callback for validations at the end of training and after an interruption."""

from typing import Any

import lightning.pytorch as L


class Validations(L.Callback):
    """Validates after the last step too, and makes good for a validation in which a run was interrupted.

    Wherever ``val_check_interval`` falls, what is kept at the end has been measured; and which checkpoint is the best
    does not depend on interruptions.
    """

    def __init__(self) -> None:
        self.made_good = False
        self._missing = False
        self._done_at = -1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Run the validation that the checkpoint was waiting for."""
        self._make_good(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Run it if it was that of the last step: then training has not started again."""
        self._make_good(trainer)

    def _make_good(self, trainer: L.Trainer) -> None:
        if not self._missing:
            return
        self._missing, self.made_good = False, True
        validation = trainer.fit_loop.epoch_loop.val_loop
        validation.restarting = False  # from its first batch
        trainer.validating = True
        validation.run()
        trainer.training = True

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let Lightning's own check come out true for the last batch."""
        if is_last_step(trainer) and trainer.val_dataloaders:
            trainer.val_check_batch = 1

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember that the model as it is has been measured."""
        if trainer.state.fn == "fit":
            self._done_at = trainer.fit_loop.epoch_loop.total_batch_idx

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note whether this state is still to be measured."""
        done = self._done_at == trainer.fit_loop.epoch_loop.total_batch_idx
        checkpoint["validation_missing"] = not done and validation_follows(trainer)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take the note up; micro-batches that are repeated bring their validation with them."""
        self._missing = checkpoint.get("validation_missing", False) and not checkpoint.get("waiting_batches", 0)


def is_last_step(trainer: L.Trainer) -> bool:
    """Whether training ends after this step, at its limit of steps or epochs."""
    last_epoch = trainer.current_epoch + 1 == trainer.max_epochs
    return trainer.global_step == trainer.max_steps or (last_epoch and trainer.is_last_batch)


def validation_follows(trainer: L.Trainer) -> bool:
    """Whether the trainer validates between this batch and the next."""
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    return fetcher is not None and not loop.val_loop.skip and loop._should_check_val_fx(fetcher)
