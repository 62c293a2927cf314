"""Recipes for a published model on seven public datasets: candidates, chosen on validation rows, and Hugging Face's.

    python benchmarks/published_recipes.py MODEL DATA --peer ../shared/bench/hf_finetune.py [--minutes 30]

MODEL is the folder of SmolLM2-135M, DATA that of the datasets, and the peer a script that fine-tunes with Hugging
Face's Trainer. All train one epoch on the same rows with seed 0, and are tested on the whole test split; --rows and
--test_rows make them smaller. Two runs train at the same time, on one core each. Runs with a result in --log_dir are
not repeated, so an interrupted call can be continued.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.train_and_test import draw, measure_missing, result, train_and_test

CONFIGS = Path(__file__).parents[1] / "configs"
VALIDATION_ROWS = 400


@dataclass(frozen=True)
class Experiment:
    """Name, data folder, the task in the names of the configuration and of the peer, training rows, and metric."""

    name: str
    folder: str
    task: str
    rows: int
    metric: str

    @property
    def peer_metric(self) -> str:
        """Name of the metric in the peer's record."""
        return "eval_accuracy" if self.task == "sentiment" else "eval_f1"


EXPERIMENTS = (
    Experiment("sentiment_rt_polarity", "rt_polarity", "sentiment", 2000, "accuracy"),
    Experiment("intents_banking77", "banking77", "sentiment", 4000, "accuracy"),
    Experiment("intents_snips", "snips", "sentiment", 2000, "accuracy"),
    Experiment("slots_snips", "snips", "ner", 2000, "entity_f1"),
    Experiment("ner_wnut17", "wnut17", "ner", 4000, "entity_f1"),
    Experiment("qa_squadshifts", "squadshifts_wiki", "qa", 1000, "answer_f1"),
    Experiment("qa_squad2", "squad2_sample", "qa", 1000, "answer_f1"),
)
LORA = "--model.lora.r=16"
SAME_FOR_HEAD = "--model.fine_tuning.head_lr=null"
CANDIDATES: dict[str, tuple[str, ...]] = {
    "LoRA": (LORA, "--model.optimizer.lr=5e-4", SAME_FOR_HEAD),
    "LoRA, 1e-3": (LORA, "--model.optimizer.lr=1e-3", SAME_FOR_HEAD),
    "LoRA, head 2e-3": (LORA, "--model.optimizer.lr=5e-4", "--model.fine_tuning.head_lr=2e-3"),
    "all weights, 5e-5": ("--model.optimizer.lr=5e-5", SAME_FOR_HEAD),
    "all weights, 1.5e-4": ("--model.optimizer.lr=1.5e-4", SAME_FOR_HEAD),
    "all weights, 1.5e-4, head 1e-3": ("--model.optimizer.lr=1.5e-4", "--model.fine_tuning.head_lr=1e-3"),
}
PEER = "HF Trainer"
BATCH_SIZES = {"sentiment": 16, "ner": 16, "qa": 8}
"""Batch sizes in the configurations, for the peer."""


@dataclass(frozen=True)
class Settings:
    """Files and limits of all runs."""

    model: Path
    data: Path
    peer: Path
    log_dir: Path
    minutes: int
    rows: int | None
    test_rows: int | None
    accelerator: str
    precision: str | None


@dataclass(frozen=True)
class Run:
    """Training with one recipe, and its test."""

    experiment: Experiment
    recipe: str
    size: str

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return self.experiment.metric

    @property
    def name(self) -> str:
        """Folder of the run below the log folder."""
        recipe = self.recipe.replace(", ", "_").replace(" ", "_")
        return f"published_recipes{self.size}/{self.experiment.name}-{recipe}"


def execute(run: Run, settings: Settings) -> None:
    """Train and test in this process, or run the peer."""
    experiment = run.experiment
    counts = {"train": settings.rows or experiment.rows, "validation": VALIDATION_ROWS, "test": settings.test_rows}
    rows = draw(settings.data / experiment.folder, counts, settings.log_dir / f"{run.name}-rows")
    if run.recipe == PEER:
        run_peer(run, settings, rows)
        return
    config = ["-c", str(CONFIGS / f"smollm2_{experiment.task}.yaml")]
    config += [f"--trainer.precision={settings.precision}"] if settings.precision else []
    fit = [*config, f"--model.init_from={settings.model}", f"--data.train={rows}/train.jsonl", "--seed_everything=0"]
    fit += [f"--data.validation={rows}/validation.jsonl", f"--trainer.max_time=00:00:{settings.minutes:02}:00"]
    tests = {split: [*config, f"--data.test={rows}/{split}.jsonl"] for split in ("test", "validation")}
    train_and_test(
        run.name,
        settings.log_dir,
        [*fit, *CANDIDATES[run.recipe]],
        tests["test"],
        tests["validation"],
        accelerator=settings.accelerator,
    )


def run_peer(run: Run, settings: Settings, rows: Path) -> None:
    """Fine-tune with Hugging Face's Trainer, and keep its test score."""
    folder = (settings.log_dir / run.name).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    record, task = folder / "record.jsonl", run.experiment.task
    record.unlink(missing_ok=True)
    flags = ["--lr", "5e-5", "--bs", str(BATCH_SIZES[task]), "--epochs", "1"]
    command = [sys.executable, str(settings.peer), task, str(settings.model), str(rows.resolve()), str(record), *flags]
    variables = {"OMP_NUM_THREADS": "1"}  # as gpt_lightning's runs
    variables |= {"CUDA_VISIBLE_DEVICES": ""} if settings.accelerator == "cpu" else {}
    variables |= {"ACCELERATE_MIXED_PRECISION": "bf16"} if settings.precision == "bf16-mixed" else {}
    begin = time.perf_counter()
    with (folder / "output.txt").open("w") as output:
        subprocess.run(
            command,
            cwd=folder,
            stdout=output,
            stderr=output,
            check=True,  # the output says why a run failed
            env=os.environ | variables,
        )
    score = json.loads(record.read_text().splitlines()[-1])[run.experiment.peer_metric]
    seconds = time.perf_counter() - begin
    (folder / "result.json").write_text(json.dumps({"metrics": {run.metric: score}, "seconds": seconds}))


def table(runs: list[Run], log_dir: Path) -> Iterator[str]:
    """Yield the rows of the table: validation scores of the candidates, and test scores of the best and the peer."""
    yield "| data | metric | " + " | ".join(f"{name}: validation" for name in CANDIDATES) + f" | best | test | {PEER} |"
    yield "|---" * (len(CANDIDATES) + 5) + "|"
    for experiment in EXPERIMENTS:
        found = {run.recipe: result(run.name, log_dir) for run in runs if run.experiment == experiment}
        validation = {
            name: 100 * known["validation"][experiment.metric]
            for name in CANDIDATES
            if (known := found.get(name)) is not None
        }
        if not validation:
            continue
        best = max(validation, key=lambda name: validation[name])
        tests = [
            "" if (known := found.get(name)) is None else f"{100 * known['metrics'][experiment.metric]:.1f}"
            for name in (best, PEER)
        ]
        cells = [f"{validation[name]:.1f}" if name in validation else "" for name in CANDIDATES]
        yield f"| {experiment.name} | {experiment.metric} | {' | '.join([*cells, best, *tests])} |"


def main() -> None:
    """Run the missing experiments, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of SmolLM2-135M")
    parser.add_argument("data", type=Path, help="folder of the datasets")
    parser.add_argument("--peer", type=Path, required=True, help="script that fine-tunes with Hugging Face's Trainer")
    parser.add_argument("--log_dir", type=Path, default=Path("logs"))
    parser.add_argument(
        "--minutes", type=int, default=30, help="maximum time of each training, below 60; not the peer's"
    )
    parser.add_argument("--rows", type=int, help="maximum number of training rows, in place of the default of each set")
    parser.add_argument("--test_rows", type=int, help="maximum number of test rows")
    parser.add_argument("--processes", type=int, default=2, help="runs at the same time")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu", help="hardware; all runs share one GPU")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), help="by default that of the accelerator")
    parser.add_argument("--only", nargs="*", default=[experiment.name for experiment in EXPERIMENTS])
    parser.add_argument("--recipes", nargs="*", default=[*CANDIDATES, PEER])
    options = parser.parse_args()
    settings = Settings(
        options.model.resolve(),
        options.data,
        options.peer.resolve(),
        options.log_dir,
        options.minutes,
        options.rows,
        options.test_rows,
        options.accelerator,
        options.precision,
    )
    size = "".join(f"-{count}" for count in (options.rows, options.test_rows) if count is not None)
    size += "-gpu" if options.accelerator == "gpu" else ""
    size += f"-{options.precision}" if options.precision else ""
    runs = [
        Run(experiment, recipe, size)
        for experiment in EXPERIMENTS
        if experiment.name in options.only
        for recipe in options.recipes
    ]
    measure_missing(runs, options.log_dir, partial(execute, settings=settings), options.processes)
    print("\n".join(table(runs, options.log_dir)))


if __name__ == "__main__":
    main()
