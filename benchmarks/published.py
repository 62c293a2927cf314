"""What fine-tuning a published model reaches on three real data sets; rows of the README's table.

    python benchmarks/published.py MODEL DATA

MODEL is the folder of SmolLM2-135M, DATA that of the data sets. One epoch over the rows that the peer's script draws
(2,000 of rt_polarity, all of wnut17, 1,000 of squadshifts_wiki; seed 0), measured on the whole test split: all weights
with the peer's settings, LoRA with a rate of its own, and the best settings found. Two trainings run at a time, on one
core each. What has been measured already is taken from --log_dir.
"""

import argparse
import random
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.train_and_test import measure_missing, result, train_and_test

CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True)
class Experiment:
    """A configuration, its data, how many rows of it (None: all), what counts, and the best settings found."""

    config: str
    folder: str
    rows: int | None
    metric: str
    best: tuple[str, ...]


EXPERIMENTS = (
    Experiment("smollm2_sentiment", "rt_polarity", 2000, "accuracy", ()),
    Experiment(
        "smollm2_ner",
        "wnut17",
        None,
        "entity_f1",
        ("--model.optimizer.lr=1.5e-4", "--model.fine_tuning.head_lr=1e-3"),
    ),
    Experiment("smollm2_qa", "squadshifts_wiki", 1000, "answer_f1", ()),
)
LORA = ("--model.lora.r=16", "--model.optimizer.lr=5e-4")
VARIANTS = ("full", "lora", "best")


@dataclass(frozen=True)
class Run:
    """One training and its test."""

    experiment: Experiment
    variant: str
    seed: int

    @property
    def metric(self) -> str:
        """What counts."""
        return self.experiment.metric

    @property
    def name(self) -> str:
        """The run's folder in the log folder."""
        return f"published/{self.experiment.config}-{self.variant}-{self.seed}"

    @property
    def flags(self) -> tuple[str, ...]:
        """What sets it apart from the configuration."""
        return {"full": (), "lora": LORA, "best": self.experiment.best}[self.variant]


def draw(data: Path, experiment: Experiment, folder: Path) -> Path:
    """The training rows, as the peer's script draws them."""
    lines = (data / experiment.folder / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    if experiment.rows is not None:
        lines = random.Random(0).sample(lines, experiment.rows)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{experiment.folder}.jsonl"
    file.write_text("".join(lines), encoding="utf-8")
    return file


def execute(run: Run, model: Path, data: Path, log_dir: Path) -> None:
    """Train and test in this process."""
    config = ["-c", str(CONFIGS / f"{run.experiment.config}.yaml")]
    train = draw(data, run.experiment, log_dir / "published")
    seed = [f"--seed_everything={run.seed}", f"--model.init_from={model}", f"--data.train={train}"]
    test = [f"--data.test={data / run.experiment.folder}/test.jsonl"]
    train_and_test(run.name, log_dir, [*config, *seed, *run.flags], [*config, *test])


def table(runs: list[Run], log_dir: Path) -> Iterator[str]:
    """The rows of the README's table."""
    yield "| data | metric | " + " | ".join(VARIANTS) + " |"
    yield "|---" * (2 + len(VARIANTS)) + "|"
    for experiment in EXPERIMENTS:
        cells = []
        for variant in VARIANTS:
            mine = (run for run in runs if (run.experiment, run.variant) == (experiment, variant))
            found = [result(run.name, log_dir) for run in mine]
            scores = [100 * each["metrics"][experiment.metric] for each in found if each is not None]
            cells.append(", ".join(f"{score:.1f}" for score in scores))
            if len(scores) > 1:
                cells[-1] += f" (mean {statistics.mean(scores):.1f})"
        yield f"| {experiment.config} | {experiment.metric} | " + " | ".join(cells) + " |"


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of SmolLM2-135M")
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--log_dir", type=Path, default=Path("logs"))
    parser.add_argument("--seeds", type=int, default=2, help="of the full runs; the others have one")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    runs = [
        Run(experiment, variant, seed)
        for seed in range(options.seeds)
        for variant in VARIANTS
        for experiment in EXPERIMENTS
        if (variant == "full" or seed == 0) and (variant != "best" or experiment.best)
    ]
    execution = partial(execute, model=options.model.resolve(), data=options.data, log_dir=options.log_dir)
    measure_missing(runs, options.log_dir, execution, options.processes)
    print("\n".join(table(runs, options.log_dir)))


if __name__ == "__main__":
    main()
