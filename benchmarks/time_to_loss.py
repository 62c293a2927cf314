r"""Training time of two recipes until the loss on the whole validation file reaches a target.

    python benchmarks/time_to_loss.py A.yaml B.yaml --train ../shared/data/tinyshakespeare/train.txt \
      --validation ../shared/data/tinyshakespeare/validation.txt

Each run is a ``gpt-lightning fit`` in a process of its own. A and B alternate, and each round has a new seed. The time
excludes validation, checkpoints and samples. Its resolution is the interval between validations (--every). All other
flags go to both runs, such as --trainer.max_steps=4 for a quick try.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L

from gpt_lightning.commands.run.cli import CLI
from gpt_lightning.commands.run.hidden_messages import hide_messages


@dataclass
class Measured:
    """Cost of a run up to the first validation that reached the target, or up to its end."""

    seconds: float = 0.0
    steps: int = 0
    tokens: int = 0
    loss: float = math.inf
    reached: bool = False


class Clock(L.Callback):
    """Callback that measures the time outside of validations, and stops the run at the target.

    Args:
        target: value of ``val/loss`` in nats per token.
    """

    def __init__(self, target: float) -> None:
        self.target = target
        self.measured = Measured()
        self._since: float | None = None

    def on_train_batch_start(self, *_: Any) -> None:
        """Start the clock after a validation."""
        if self._since is None:
            self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the tokens."""
        self.measured.tokens += batch["input_ids"].numel() * trainer.world_size

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock."""
        if self._since is not None:
            self.measured.seconds += time.perf_counter() - self._since
            self._since = None

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the run if the loss has reached the target."""
        self.measured.steps = trainer.global_step
        self.measured.loss = float(trainer.callback_metrics["val/loss"])
        self.measured.reached = self.measured.loss <= self.target
        trainer.should_stop = trainer.should_stop or self.measured.reached


class ClockedCLI(CLI):
    """Command line that measures the time of training."""

    clock: Clock

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Add the clock to the callbacks."""
        trainer = super().instantiate_trainer(**kwargs)
        trainer.callbacks.insert(0, self.clock)  # type: ignore[attr-defined]
        return trainer


def measure(result: Path, target: float, fit: list[str]) -> None:
    """Run ``fit`` in this process, and write its cost to ``result``."""
    hide_messages()
    ClockedCLI.clock = Clock(target)
    ClockedCLI(["fit", *fit])
    result.write_text(json.dumps(asdict(ClockedCLI.clock.measured)))


def run(recipe: Path, seed: int, options: argparse.Namespace, others: list[str], folder: Path) -> Measured:
    """Run a recipe in a process of its own."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    fit = [
        *("-c", str(recipe), f"--data.train={options.train}", f"--data.validation={options.validation}"),
        *(f"--seed_everything={seed}", f"--log_dir={folder}/logs", f"--data.cache_dir={folder}/cache"),
        *(f"--trainer.val_check_interval={options.every}", "--trainer.check_val_every_n_epoch=null"),
        *("--trainer.limit_val_batches=1.0", "--trainer.enable_checkpointing=false", "--samples.prompts=[]"),
        *others,
    ]
    command = [sys.executable, __file__, "--measure", str(result), str(options.target), *fit]
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if process.returncode:
        raise SystemExit(f"{recipe} failed:\n{process.stdout}")
    return Measured(**json.loads(result.read_text()))


def main() -> None:
    """Run both recipes in turn, and print each run, the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs=2, type=Path, metavar="RECIPE")
    parser.add_argument("--train", required=True, help="the training file")
    parser.add_argument("--validation", required=True, help="the validation file, which is evaluated completely")
    parser.add_argument("--target", type=float, default=1.885, help="loss in nats per token")
    parser.add_argument("--every", type=int, default=50, help="number of steps between two validations")
    parser.add_argument("--rounds", type=int, default=3)
    options, others = parser.parse_known_args()
    results: dict[Path, list[Measured]] = {recipe: [] for recipe in options.recipes}
    if len(results) < 2:
        parser.error("give two different recipes")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.rounds):
            for recipe, done in results.items():
                done.append(one := run(recipe, seed, options, others, Path(folder)))
                outcome = "reached" if one.reached else f"NOT reached {options.target:.3f}:"
                print(
                    f"{recipe.name}, seed {seed}: {outcome} {one.loss:.4f} after {one.seconds:.1f} s, "
                    f"{one.steps} steps, {one.tokens:,} tokens",
                    flush=True,
                )
    baseline, recipe = results
    if not all(one.reached for one in results[recipe]):
        raise SystemExit(f"{recipe.name} missed the target in some rounds, so there is no ratio")
    texts, medians = [], []
    # A baseline that missed the target would have needed more time than it ran.
    more = "" if all(one.reached for one in results[baseline]) else "at least "
    for done in results.values():
        seconds, steps, tokens = (
            statistics.median(getattr(one, name) for one in done) for name in ("seconds", "steps", "tokens")
        )
        texts.append(f"{seconds:.1f} s, {steps:.0f} steps, {tokens:,.0f} tokens")
        medians.append(seconds)
    row = f"loss {options.target} on {Path(options.validation).parent.name}, {recipe.stem} and {baseline.stem}"
    print(f"| {row} | {texts[1]} | {more}{texts[0]} | {more}{medians[0] / medians[1]:.2f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
    else:
        main()
