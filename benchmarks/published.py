"""Scores of fine-tuning a pretrained model on three public datasets.

    python benchmarks/published.py MODEL DATA

MODEL is the folder of SmolLM2-135M, DATA that of the datasets. Each run trains one epoch on the rows that the peer's
script draws (2,000 of rt_polarity, all of wnut17, 1,000 of squadshifts_wiki; seed 0), and is tested on the whole test
split. There are three variants: all weights with the peer's settings, LoRA with its own learning rate, and the best
settings found. Two runs train at the same time, on one core each. Runs with a result in --log_dir are not repeated.
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
    """Configuration, data folder, number of rows (None for all), metric, and the flags of the best settings."""

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
    """A training run and its test."""

    experiment: Experiment
    variant: str
    seed: int

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return self.experiment.metric

    @property
    def name(self) -> str:
        """Folder of the run below the log folder."""
        return f"published/{self.experiment.config}-{self.variant}-{self.seed}"

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags of the variant, in addition to the configuration."""
        return {"full": (), "lora": LORA, "best": self.experiment.best}[self.variant]


def draw(data: Path, experiment: Experiment, folder: Path) -> Path:
    """Write the training rows that the peer's script draws."""
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
    """Yield the rows of the table."""
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
    """Run the missing experiments, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of SmolLM2-135M")
    parser.add_argument("data", type=Path, help="folder of the datasets")
    parser.add_argument("--log_dir", type=Path, default=Path("logs"))
    parser.add_argument(
        "--seeds", type=int, default=2, help="number of seeds of the full runs; the other variants have one"
    )
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
