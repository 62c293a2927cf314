"""Cost of the diagnostics and of the history of a run, in percent of the time of a training step.

Every second step and every second validation of one run is measured with diagnostics, so that both kinds see the same
machine. Steps with and without differ in nothing else.

    OMP_NUM_THREADS=2 python benchmarks/diagnostics.py [STEPS]
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as L
from lightning.pytorch.loggers import TensorBoardLogger

from gpt_lightning.commands.run.hidden_messages import hide_messages
from gpt_lightning.data import LanguageModeling
from gpt_lightning.evaluation.run_report import history
from gpt_lightning.models import GPTConfig
from gpt_lightning.tasks import CausalLM
from gpt_lightning.training import LayerDiagnostics, LossDiagnostics, RandomnessByPosition, RunHistory, StepAxis
from gpt_lightning.training.diagnostics import layers, losses

LOG_EVERY: Final = 10
"""Default interval of logging, in steps."""
BUDGET: Final = 2.0
"""Percent of the time of a step that the diagnostics may cost at the default interval."""
SIZES: Final = {
    "4 layers, 128 channels, 12 rows of 64 tokens": ({"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64}, 12),
    "6 layers, 384 channels, 8 rows of 256 tokens": ({"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256}, 8),
}
"""Name -> shape of the backbone and batch size."""


class Clock(L.Callback):
    """Callback that measures the time of each training step and of each validation."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.validations: list[float] = []
        self._start = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """Start the clock. The time between two batches is not that of a step."""
        self._start = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        """Keep the time of the step; this callback is the last one."""
        self.steps.append(time.perf_counter() - self._start)

    def on_validation_start(self, *_: Any) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_validation_end(self, *_: Any) -> None:
        """Keep the time of the validation."""
        self.validations.append(time.perf_counter() - self._start)


class Alternating(LossDiagnostics):
    """``LossDiagnostics`` of every second validation."""

    number = 0

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start new sums in every second validation."""
        self.number += 1
        if self.number % 2 == 0:
            super().on_validation_epoch_start(trainer, pl_module)


def train(folder: Path, shape: dict[str, Any], batch_size: int, steps: int) -> Clock:
    """Train a language model on random words, and return the measured times."""
    text = folder / "text.txt"
    text.write_text(" ".join(f"word{n * n % 997}" for n in range(120_000)))
    data = LanguageModeling(
        train=str(text),
        validation=str(text),
        tokenizer="bpe:4096",
        block_size=shape["block_size"],
        batch_size=batch_size,
        cache_dir=str(folder / "cache"),
        seed=0,
    )
    L.seed_everything(0, verbose=False)
    clock = Clock()
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=TensorBoardLogger(folder, "run", default_hp_metric=False),
        callbacks=[RandomnessByPosition(), StepAxis(), LayerDiagnostics(), Alternating(), RunHistory(), clock],
        log_every_n_steps=1,
        val_check_interval=4,
        check_val_every_n_epoch=None,
        limit_val_batches=losses.MAX_BATCHES,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        gradient_clip_val=1.0,
    )
    trainer.fit(CausalLM(backbone=GPTConfig(**shape), vocab_size=data.tokenizer.vocab_size), data)
    return clock


def main() -> None:
    """Print the cost of each part, and fail if the budget is exceeded."""
    hide_messages()
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 48
    interval, layers.EVERY_N_LOGS = layers.EVERY_N_LOGS, 2  # type: ignore[misc]
    is_within = True
    for name, (shape, batch_size) in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            clock = train(Path(folder), shape, batch_size, steps)
            begin = time.perf_counter()
            for step in range(1000):
                history.append(Path(folder), step, scalars={f"train/metric_{n}": n / 3 for n in range(8)})
            write = (time.perf_counter() - begin) / 1000
        plain, measured = statistics.median(clock.steps[2::2]), statistics.median(clock.steps[3::2])
        once = measured - plain
        percent = 100 * (once / (LOG_EVERY * interval) + write / LOG_EVERY) / plain
        off, on = statistics.median(clock.validations[::2]), statistics.median(clock.validations[1::2])
        print(f"{name}:")
        print(f"  step {1e3 * plain:.1f} ms")
        print(f"  measurement of the layers {1e3 * once:.1f} ms, every {LOG_EVERY * interval} steps")
        print(f"  line of the history {1e3 * write:.2f} ms, every {LOG_EVERY} steps")
        print(f"  together {percent:.2f} % of a step; the budget is {BUDGET:g} %")
        print(
            f"  validation of {losses.MAX_BATCHES} batches {1e3 * off:.0f} ms, with losses by range {1e3 * on:.0f} ms"
        )
        is_within &= percent <= BUDGET
    sys.exit(not is_within)


if __name__ == "__main__":
    main()
