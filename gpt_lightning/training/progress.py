"""Progress bars, progress lines and the summary at the end."""

import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from gpt_lightning.checkpoints.manifest import Manifest
from gpt_lightning.tasks.tags import TOKENS_PER_SECOND
from gpt_lightning.training.checkpoint_callback import Checkpoints


def progress_bar() -> L.Callback:
    """A Rich bar in a terminal, plain lines where output goes to a file."""
    return Bar(leave=True) if sys.stdout.isatty() else ProgressLines()


class Bar(RichProgressBar):
    """Lightning's bar with the loss and the speed, and without numbers that say nothing here."""

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What is logged for the bar; not the version, which the run's folder shows."""
        metrics = super().get_metrics(trainer, pl_module)
        return {name.rpartition("/")[2]: value for name, value in metrics.items() if name != "v_num"}

    def _get_train_description(self, current_epoch: int) -> str:
        # Lightning's says "0/-2" where max_steps ends the run. As wide as the other bar's, or both would flicker.
        return f"Epoch {current_epoch}".ljust(len(self.validation_description))


class ProgressLines(L.Callback):
    """One line after each validation, and one every ten seconds at most in between."""

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self._last = 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print the training loss and speed, if they are known and it is time."""
        now = time.monotonic()
        if not trainer.is_global_zero or now - self._last < self.seconds:
            return
        metrics = trainer.callback_metrics
        if "train/loss" not in metrics:
            return
        self._last = now
        speed = float(metrics.get(TOKENS_PER_SECOND, 0.0))
        print(
            f"step {trainer.global_step}: train/loss {float(metrics['train/loss']):.4f}, {speed:,.0f} tokens/s",
            flush=True,
        )

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print what was measured."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        values = ((name, float(value)) for name, value in trainer.callback_metrics.items() if name.startswith("val/"))
        print(f"step {trainer.global_step}: " + ", ".join(f"{name} {value:.4f}" for name, value in values), flush=True)


class Summary(L.Callback):
    """Says at the start what is trained and where, at the end where the best is and how to look at the curves."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the model's size and the run's folder."""
        log_dir = trainer.log_dir
        if trainer.is_global_zero:
            parameters = sum(parameter.numel() for parameter in pl_module.parameters())
            trained = sum(parameter.numel() for parameter in pl_module.parameters() if parameter.requires_grad)
            of_them = "" if trained == parameters else f", {trained:,} of them trained"
            print(f"{type(pl_module).__name__}: {parameters:,} parameters{of_them}, in {log_dir}", flush=True)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the summary."""
        log_dir = trainer.log_dir
        if not trainer.is_global_zero or log_dir is None or trainer.global_step == 0:
            return
        lines = [f"{trainer.global_step:,} steps"]
        for checkpoints in trainer.checkpoint_callbacks:
            if not isinstance(checkpoints, Checkpoints) or checkpoints.folder is None:
                continue
            checkpoints.wait()
            manifest = Manifest.read(checkpoints.folder)
            if checkpoints.best_score is not None and manifest.best is not None:
                score = f"{checkpoints.monitor} {checkpoints.best_score:.4f} at step {checkpoints.best_step}"
                lines.append(f"best: {checkpoints.folder / manifest.best} ({score})")
            if manifest.checkpoints:
                lines.append(f"last: {checkpoints.folder / manifest.checkpoints[-1].file}")
        folders = [Path(each.log_dir).parent for each in trainer.loggers if isinstance(each, TensorBoardLogger)]
        lines += [f"curves: {Path(sys.executable).parent / 'tensorboard'} --logdir {folder}" for folder in folders]
        Console(soft_wrap=True, highlight=False).print("\n".join(lines))
