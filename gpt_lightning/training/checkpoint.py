"""When checkpoints are written."""

import math
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
from lightning.pytorch.callbacks import Checkpoint

from gpt_lightning import tasks
from gpt_lightning.data.tokenizer import Tokenizer
from gpt_lightning.errors import InputError


class Checkpoints(Checkpoint):
    """Keeps ``checkpoints/last.ckpt`` and ``checkpoints/best.ckpt`` in the run's folder.

    ``last`` is written every ``every_n_steps`` optimizer steps, after each validation and at the end; ``best`` after a
    validation that was better than all before it. Both hold the tokenizer, so that a checkpoint alone can be used.

    Args:
        monitor: the metric that decides which is best.
        mode: whether its ``min`` or its ``max`` is.
        every_n_steps: optimizer steps from one ``last`` to the next.
    """

    def __init__(
        self, monitor: str = "val/loss", mode: Literal["min", "max"] = "min", every_n_steps: int = 1000
    ) -> None:
        if every_n_steps < 1:
            raise InputError(f"--checkpoints.every_n_steps={every_n_steps} must be at least 1")
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps
        self.folder: Path | None = None
        self.best_score: float | None = None
        self.best_step: int | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make the folder, so that one that cannot be written stops the run before its first step."""
        log_dir = trainer.log_dir  # asks rank zero, so every rank must
        if stage != "fit" or log_dir is None:
            return
        self.folder = Path(log_dir) / "checkpoints"
        if trainer.is_global_zero:
            make_folder(self.folder)
            if (tokenizer := tokenizer_of(trainer)) is not None:
                tokenizer.save(Path(log_dir) / "tokenizer.json")

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write ``last`` at its interval, and when training is about to end.

        Not in ``on_train_end``: Lightning then counts the epoch as done, though it may have stopped in the middle.
        """
        assert isinstance(pl_module, tasks.Task)
        if pl_module.is_accumulating:
            return
        if trainer.global_step % self.every_n_steps == 0 or is_last_step(trainer) or trainer.should_stop:
            self._save(trainer, "last")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write ``last``, and ``best`` where it is."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self.monitor not in trainer.callback_metrics:
            raise InputError(
                f"--checkpoints.monitor={self.monitor} is not measured; "
                f"choose one of {', '.join(trainer.callback_metrics)}"
            )
        score = float(trainer.callback_metrics[self.monitor])
        if self._is_best(score):
            self.best_score, self.best_step = score, trainer.global_step
            self._save(trainer, "best")
        self._save(trainer, "last")

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the data module's name and its tokenizer."""
        if (tokenizer := tokenizer_of(trainer)) is not None:
            name = type(trainer.datamodule).__name__  # type: ignore[attr-defined]
            checkpoint |= {"data": name, "tokenizer": tokenizer.to_json()}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on with another tokenizer: every id would mean something else."""
        tokenizer = tokenizer_of(trainer)
        if tokenizer is not None and "tokenizer" in checkpoint:
            trained_with = Tokenizer.from_json(checkpoint["tokenizer"])
            if trained_with.hash != tokenizer.hash:
                raise InputError(
                    f"the checkpoint was trained with the tokenizer {trained_with.name}, the data has another: "
                    f"{tokenizer.name}; leave --data.tokenizer out to use the checkpoint's"
                )

    def state_dict(self) -> dict[str, Any]:
        """The best so far."""
        return {"best_score": self.best_score, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best so far."""
        self.best_score, self.best_step = state_dict["best_score"], state_dict["best_step"]

    def _is_best(self, score: float) -> bool:
        if math.isnan(score) or self.best_score is None:
            return not math.isnan(score)
        return score < self.best_score if self.mode == "min" else score > self.best_score

    def _save(self, trainer: L.Trainer, name: str) -> None:
        if self.folder is not None:
            trainer.save_checkpoint(self.folder / f"{name}.ckpt")


def tokenizer_of(trainer: L.Trainer) -> Tokenizer | None:
    """The tokenizer of the trainer's data module, where it has one of ours."""
    tokenizer = getattr(trainer.datamodule, "tokenizer", None)  # type: ignore[attr-defined]
    return tokenizer if isinstance(tokenizer, Tokenizer) else None


def is_last_step(trainer: L.Trainer) -> bool:
    """Whether training ends after this step, at its limit of steps or epochs."""
    last_epoch = trainer.current_epoch + 1 == trainer.max_epochs
    return trainer.global_step == trainer.max_steps or (last_epoch and trainer.is_last_batch)


class ValidationAtEnd(L.Callback):
    """Validates after the last step too, wherever ``val_check_interval`` falls: what is kept has been measured."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let Lightning's own check come out true for this batch."""
        if is_last_step(trainer) and trainer.val_dataloaders:
            trainer.val_check_batch = 1


def make_folder(folder: Path) -> None:
    """Create ``folder`` and check that it can be written."""
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another with --log_dir") from None
