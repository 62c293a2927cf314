"""Progress lines for output that is not a terminal: pipes, files, continuous integration."""

from gpt_lightning.training.pace import Status, position
from gpt_lightning.training.progress import ProgressDisplay, metrics_line


class ProgressLines(ProgressDisplay):
    """Lines for output that is no terminal: one every few seconds, and one after each validation."""

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__(seconds)

    def show_training(self, status: Status) -> None:
        """Print step and epoch, loss, throughput and remaining time."""
        epoch = f" ({status.epoch})" if status.epoch else ""
        remaining = f", {status.remaining}" if status.remaining else ""
        print(f"step {position(status.step, status.total)}{epoch}: {status.measurements}{remaining}", flush=True)

    def show_batches(self, stage: str, done: int, total: int | None) -> None:
        """Print the number of batches."""
        print(f"{stage}: batch {done}" + ("" if total is None else f"/{total}"), flush=True)

    def show_generation(self, stage: str, examples: int) -> None:
        """Print the number of answers, if it is time for a line."""
        if self._is_time(stage):
            print(f"{stage}: generating {examples} answers", flush=True)

    def show_metrics(self, step: int, total: int | None, metrics: dict[str, float], monitor: str) -> None:
        """Print the metrics."""
        print(metrics_line(step, total, metrics), flush=True)
