"""Scores of fine-tuning on seven public datasets, from scratch and from a pretrained backbone.

    python benchmarks/results.py DATA BACKBONE

DATA is the folder of the datasets, BACKBONE the run of configs/pretrain_books_nano.yaml. Two runs train at the same
time, on one core each. Runs with a result in --log_dir are not repeated, so an interrupted call can be continued.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.baselines import tfidf_accuracy, trivial_score
from benchmarks.train_and_test import measure_missing, result, spread, train_and_test

CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True)
class Experiment:
    """Configuration, data folder and metric."""

    config: str
    folder: str
    metric: str


EXPERIMENTS = (
    Experiment("sentiment_rt_polarity", "rt_polarity", "accuracy"),
    Experiment("intents_banking77", "banking77", "accuracy"),
    Experiment("intents_snips", "snips", "accuracy"),
    Experiment("slots_snips", "snips", "entity_f1"),
    Experiment("ner_wnut17", "wnut17", "entity_f1"),
    Experiment("qa_squadshifts", "squadshifts_wiki", "answer_f1"),
    Experiment("qa_squad2", "squad2_sample", "answer_f1"),
)
STARTS = ("scratch", "backbone")
ATTENTIONS = ("causal", "bidirectional")


@dataclass(frozen=True)
class Run:
    """A training run and its test."""

    experiment: Experiment
    start: str
    attention: str
    seed: int

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return self.experiment.metric

    @property
    def name(self) -> str:
        """Folder of the run below the log folder."""
        return f"results/{self.experiment.config}-{self.start}-{self.attention}-{self.seed}"


def execute(run: Run, data: Path, backbone: Path, log_dir: Path) -> None:
    """Train and test in this process, and keep only the metrics."""
    rows = data / run.experiment.folder
    # Runs from scratch use the same tokenizer, so that only the weights differ.
    start = (
        [f"--model.init_from={backbone}"]
        if run.start == "backbone"
        else [f"--data.tokenizer={backbone}/tokenizer.json"]
    )
    both = ["-c", str(CONFIGS / f"{run.experiment.config}.yaml"), f"--model.backbone.attention={run.attention}"]
    splits = [f"--data.train={rows}/train.jsonl", f"--data.validation={rows}/validation.jsonl"]
    fit = [*both, *splits, f"--seed_everything={run.seed}", *start]
    calibrate = ["--calibrate"] if run.metric == "accuracy" else []
    train_and_test(run.name, log_dir, fit, [*both, *splits, f"--data.test={rows}/test.jsonl", *calibrate])


def table(runs: list[Run], data: Path, log_dir: Path) -> Iterator[str]:
    """Yield the rows of the table."""
    columns = [(start, attention) for start in STARTS for attention in ATTENTIONS]
    names = [f"{start}, {attention}" for start, attention in columns]
    yield "| data | metric | trivial | TF-IDF | " + " | ".join(names) + " |"
    yield "|---" * (4 + len(columns)) + "|"
    for experiment in EXPERIMENTS:
        mine = [run for run in runs if run.experiment == experiment]
        if not mine:
            continue
        words = tfidf_accuracy(data / experiment.folder) if experiment.metric == "accuracy" else None
        cells = [f"{100 * trivial_score(data / experiment.folder, experiment.config):.1f}"]
        cells.append("" if words is None else f"{100 * words:.1f}")
        for start, attention in columns:
            found = [result(run.name, log_dir) for run in mine if (run.start, run.attention) == (start, attention)]
            cells.append(spread([100 * each["metrics"][experiment.metric] for each in found if each is not None]))
        yield f"| {experiment.config} | {experiment.metric} | " + " | ".join(cells) + " |"


def verdict_table(runs: list[Run], log_dir: Path) -> Iterator[str]:
    """Yield the rows of a table with intervals and calibration: the runs from the backbone with the first seed."""
    yield "| data | attention | score | TF-IDF | minus TF-IDF | minus trivial | calibration error | after scaling |"
    yield "|---" * 8 + "|"
    for run in runs:
        found = result(run.name, log_dir)
        verdict = None if found is None else found.get("verdict")
        if run.seed or run.start != "backbone" or verdict is None:
            continue
        compared = {key: each["scores"][run.metric] for key, each in verdict["baselines"].items()}
        calibration = verdict.get("calibration", {})
        cells = [
            estimate(verdict["scores"][run.metric]),
            estimate(compared.get("tfidf", {}).get("baseline")),
            *(estimate(compared.get(key, {}).get("difference")) for key in ("tfidf", "trivial")),
            percent(calibration.get("error")),
            percent(calibration.get("after", {}).get("error")),
        ]
        yield f"| {run.experiment.config} | {run.attention} | " + " | ".join(cells) + " |"


def estimate(found: dict[str, Any] | None) -> str:
    """Return a value and its interval in percent; empty for None."""
    if found is None:
        return ""
    low, high = found["interval"]
    return f"{percent(found['value'])} ({percent(low)} to {percent(high)})"


def percent(share: float | None) -> str:
    """Return a share in percent; empty for None."""
    return "" if share is None else f"{100 * share:.1f}"


def main() -> None:
    """Run the missing experiments, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the datasets")
    parser.add_argument("backbone", type=Path, help="run of configs/pretrain_books_nano.yaml")
    parser.add_argument("--log_dir", type=Path, default=Path("logs"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[experiment.config for experiment in EXPERIMENTS])
    options = parser.parse_args()
    backbone = options.backbone.resolve()
    runs = [
        Run(experiment, start, attention, seed)
        # The seed is the outermost loop, so that an interrupted call covers all experiments.
        for seed in range(options.seeds)
        for experiment in EXPERIMENTS
        if experiment.config in options.only
        for attention in ATTENTIONS
        for start in STARTS
    ]
    execution = partial(execute, data=options.data, backbone=backbone, log_dir=options.log_dir)
    measure_missing(runs, options.log_dir, execution)
    print("\n".join(table(runs, options.data, options.log_dir)))
    print("\n95 % intervals of the test rows, for the first seed:\n")
    print("\n".join(verdict_table(runs, options.log_dir)))


if __name__ == "__main__":
    main()
