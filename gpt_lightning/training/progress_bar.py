"""Progress bar for terminals."""

import sys

import lightning.pytorch as L
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from gpt_lightning.training.pace import Status, duration
from gpt_lightning.training.progress import ProgressDisplay, metrics_line
from gpt_lightning.training.progress_lines import ProgressLines


def progress_display() -> L.Callback:
    """Return a bar if standard output is a terminal, and lines otherwise."""
    return ProgressBar() if sys.stdout.isatty() else ProgressLines()


class ProgressBar(ProgressDisplay):
    """Bar of a terminal with the total, the remaining time, the loss, the throughput and the last validation metric.

    A second bar shows a validation while it runs.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        super().__init__(seconds)
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}
        self._measurements = self._metric = ""

    def begin(self, stage: str, done: int, total: int | None) -> None:
        """Draw a bar, and start the display if there is none."""
        if self._progress is None:
            # Without a refreshing thread: drawing costs nothing between updates, and workers fork safely.
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
                auto_refresh=False,
                expand=True,
            )
            self._progress.start()
        self._bars[stage] = self._progress.add_task(stage, completed=done, total=total, text="")
        self._progress.refresh()

    def show_training(self, status: Status) -> None:
        """Move the bar."""
        self._measurements = ", ".join(part for part in (status.remaining, status.measurements) if part)
        self._move("training", status.step, status.epoch)

    def show_batches(self, stage: str, done: int, total: int | None) -> None:
        """Move the bar."""
        self._move(stage, done)

    def show_generation(self, stage: str, examples: int) -> None:
        """Describe the generation in the bar of the stage, until its batch is done."""
        if self._progress is not None and stage in self._bars:
            self._progress.update(self._bars[stage], text=f"generating {examples} answers", refresh=True)

    def show_metrics(self, step: int, total: int | None, metrics: dict[str, float], monitor: str) -> None:
        """Print the metrics above the bar, and keep the monitored one next to it."""
        print(metrics_line(step, total, metrics), flush=True)
        if monitor in metrics:
            self._metric = f"{monitor} {metrics[monitor]:.4f}"
        self._move("training", step)

    def end(self, stage: str) -> None:
        """Remove the bar of a validation during training; after the last stage, leave the bars and stop."""
        if self._progress is None:
            return
        if stage == "validating" and "training" in self._bars:
            self._progress.remove_task(self._bars.pop(stage))
            self._progress.refresh()
            return
        self._progress.stop()
        self._progress, self._bars = None, {}

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the last step, and stop."""
        if self._progress is not None and "training" in self._bars:
            self._progress.update(self._bars["training"], completed=trainer.global_step)
        super().on_train_end(trainer, pl_module)

    def _move(self, stage: str, done: int, description: str = "") -> None:
        if self._progress is None or stage not in self._bars:
            return
        bar = self._bars[stage]
        text = ", ".join(filter(None, (self._measurements, self._metric)))
        if stage != "training":
            seconds = next(task for task in self._progress.tasks if task.id == bar).time_remaining
            text = "" if seconds is None else f"{duration(seconds)} left"
        if description:
            self._progress.update(bar, description=description)
        self._progress.update(bar, completed=done, text=text, refresh=True)
