"""Scores of two toy-world heads, entailment of text pairs and regression, from scratch and from a pretrained backbone.

    gpt-lightning toy-world data/toy_world
    gpt-lightning fit -c pretrain_toy_world
    python benchmarks/toy_world_heads.py logs/pretrain_toy_world/version_0

The current folder holds the data in data/toy_world. Baselines without a neural network are computed from the same rows;
validation rows select their regularization. Runs with a result in --log_dir are not repeated.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression, Ridge  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.baselines import Rows, read
from benchmarks.train_and_test import measure_missing, result, spread, train_and_test

CONFIGS = Path(__file__).parents[1] / "configs"
DATA = Path("data/toy_world")
METRICS = {"entailment": "accuracy", "liking": "pearson"}
STARTS = ("scratch", "backbone")


@dataclass(frozen=True)
class Run:
    """A training run and its test."""

    task: str
    start: str
    seed: int

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return METRICS[self.task]

    @property
    def name(self) -> str:
        """Folder of the run below the log folder."""
        return f"toy_world_heads/{self.task}-{self.start}-{self.seed}"


def execute(run: Run, backbone: Path, log_dir: Path) -> None:
    """Train and test in this process. Runs from scratch use the same tokenizer, so that only the weights differ."""
    config = ["-c", str(CONFIGS / f"toy_world_{run.task}.yaml")]
    pretrained, scratch = f"--model.init_from={backbone}", f"--data.tokenizer={backbone}/tokenizer.json"
    start = pretrained if run.start == "backbone" else scratch
    train_and_test(run.name, log_dir, [*config, f"--seed_everything={run.seed}", start], config)


def majority(task: str) -> float:
    """Return the test accuracy of the most frequent training label."""
    train, test = read(DATA / task, "train"), read(DATA / task, "test")
    label = Counter(row["label"] for row in train).most_common(1)[0][0]
    return float(np.mean([row["label"] == label for row in test]))


def linear(task: str, text_of: Callable[[dict[str, Any]], str]) -> float:
    """Return the test score of a linear model on TF-IDF features of words and word pairs."""
    train, validation, test = (read(DATA / task, split) for split in ("train", "validation", "test"))

    def fit(strength: float) -> Any:
        is_number = task == "liking"
        model = Ridge(1 / strength) if is_number else LogisticRegression(C=strength, max_iter=1000)
        pipe = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), model)
        return pipe.fit([text_of(row) for row in train], [row["label"] for row in train])

    def score(model: Any, rows: Rows) -> float:
        predicted, labels = model.predict([text_of(row) for row in rows]), [row["label"] for row in rows]
        return float(np.corrcoef(predicted, labels)[0, 1] if task == "liking" else np.mean(predicted == labels))

    return score(max(map(fit, (0.1, 1.0, 10.0, 100.0)), key=lambda model: score(model, validation)), test)


BASELINES: dict[str, dict[str, Callable[[], float]]] = {
    "entailment": {
        "majority": partial(majority, "entailment"),
        "TF-IDF, premise": partial(linear, "entailment", lambda row: row["premise"]),
        "TF-IDF, hypothesis": partial(linear, "entailment", lambda row: row["hypothesis"]),
        "TF-IDF, both": partial(linear, "entailment", lambda row: f"{row['premise']} {row['hypothesis']}"),
        "TF-IDF, shared and other words": partial(linear, "entailment", lambda row: overlap(row)),
    },
    "liking": {"TF-IDF ridge": partial(linear, "liking", lambda row: row["text"])},
}


def overlap(row: dict[str, Any]) -> str:
    """Return the words of both texts, with a mark on those of the hypothesis and whether the premise has them."""
    premise = row["premise"].lower().split()
    marked = [f"shared_{word}" if word in premise else f"other_{word}" for word in row["hypothesis"].lower().split()]
    return " ".join([*premise, *marked])


def table(runs: list[Run], log_dir: Path) -> Iterator[str]:
    """Yield the rows of the table."""
    yield "| task | metric | model | score |"
    yield "|---|---|---|---|"
    for task in dict.fromkeys(run.task for run in runs):
        for name, baseline in BASELINES[task].items():
            yield f"| {task} | {METRICS[task]} | {name} | {baseline():.3f} |"
        for start in STARTS:
            found = [result(run.name, log_dir) for run in runs if (run.task, run.start) == (task, start)]
            scores = [each["metrics"][METRICS[task]] for each in found if each is not None]
            if scores:
                yield f"| {task} | {METRICS[task]} | {start} | {spread(scores, 3)} |"


def main() -> None:
    """Run the missing experiments, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbone", type=Path, help="run of configs/pretrain_toy_world.yaml")
    parser.add_argument("--log_dir", type=Path, default=Path("logs"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=list(METRICS))
    options = parser.parse_args()
    runs = [Run(task, start, seed) for seed in range(options.seeds) for task in options.only for start in STARTS]
    execution = partial(execute, backbone=options.backbone.resolve(), log_dir=options.log_dir)
    measure_missing(runs, options.log_dir, execution, options.processes)
    print("\n".join(table(runs, options.log_dir)))


if __name__ == "__main__":
    main()
