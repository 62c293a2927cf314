"""Taggers and question answering with causal attention that read their texts once or twice (``layout.copies``).

    python benchmarks/read_twice.py DATA --model MODEL
    python benchmarks/read_twice.py DATA --backbone RUN

DATA is the folder of the datasets, MODEL the folder of SmolLM2-135M, and RUN that of configs/pretrain_books_nano.yaml.
A model gets LoRA adapters for one epoch; a backbone is fine-tuned for the epochs of the configurations. Both layouts
have the same context size. For a model, it is twice that of the configuration by default; a backbone keeps its own.
--rows and --test_rows make the datasets smaller; with very few rows, the training rows may lack a
label. Runs with a result in --log_dir are not repeated, so an interrupted call can be continued.

The idea is that of Springer et al. (2024, arXiv:2402.15449), who use it for embeddings.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.train_and_test import draw, measure_missing, result, spread, train_and_test

CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True)
class Experiment:
    """Data folder, metric, configurations for a model and a backbone, context size of a model, and further flags."""

    folder: str
    metric: str
    model_config: str
    backbone_config: str
    block_size: int
    flags: tuple[str, ...] = ()


EXPERIMENTS = (
    Experiment("wnut17", "entity_f1", "smollm2_ner", "ner_wnut17", 512),
    Experiment("snips", "entity_f1", "smollm2_ner", "slots_snips", 512),
    # Otherwise the longest questions, twice in the backbone's 256 tokens, leave less room than windows must share.
    Experiment(
        "squadshifts_wiki", "answer_f1", "smollm2_qa", "qa_squadshifts", 768, ("--data.max_question_tokens=48",)
    ),
)
COPIES = {"once": 1, "twice": 2}
LORA = (
    *("--model.lora.r=16", "--model.optimizer.lr=5e-4", "--model.fine_tuning.head_lr=null"),
    "--trainer.max_epochs=1",
)
CAUSAL = "--model.backbone.attention=causal"


@dataclass(frozen=True)
class Settings:
    """Files, sizes and hardware of all runs."""

    data: Path
    start: Path
    is_model: bool
    log_dir: Path
    block_size: int | None
    rows: int | None
    test_rows: int | None
    accelerator: str

    @property
    def name(self) -> str:
        """Name of the start and the sizes, for the folders of the runs."""
        sizes = "".join(
            f"-{name}{size}"
            for name, size in (("rows", self.rows), ("test", self.test_rows), ("block", self.block_size))
            if size is not None
        )
        return f"{'model' if self.is_model else 'backbone'}{sizes}{'-gpu' if self.accelerator == 'gpu' else ''}"


@dataclass(frozen=True)
class Run:
    """Training with one layout and seed, and its test."""

    experiment: Experiment
    layout: str
    seed: int
    group: str

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return self.experiment.metric

    @property
    def name(self) -> str:
        """Folder of the run below the log folder."""
        return f"read_twice/{self.group}/{self.experiment.folder}-{self.layout}-{self.seed}"


def execute(run: Run, settings: Settings) -> None:
    """Train and test in this process, and keep only the metrics."""
    experiment = run.experiment
    counts = {"train": settings.rows, "validation": settings.test_rows, "test": settings.test_rows}
    rows = draw(settings.data / experiment.folder, counts, settings.log_dir / f"{run.name}-rows")
    config = experiment.model_config if settings.is_model else experiment.backbone_config
    both = ["-c", str(CONFIGS / f"{config}.yaml"), CAUSAL, *experiment.flags]
    fit = [f"--data.train={rows}/train.jsonl", f"--data.validation={rows}/validation.jsonl"]
    fit += [f"--model.init_from={settings.start}", f"--seed_everything={run.seed}"]
    fit += [f"--data.layout.copies={COPIES[run.layout]}"]
    if settings.is_model:
        fit += [f"--model.backbone.block_size={settings.block_size or experiment.block_size}", *LORA]
    test = [*both, f"--data.test={rows}/test.jsonl"]
    train_and_test(run.name, settings.log_dir, [*both, *fit], test, accelerator=settings.accelerator)


def table(runs: list[Run], log_dir: Path) -> Iterator[str]:
    """Yield the rows of the table: mean and standard deviation over seeds, and the mean difference of equal seeds."""
    yield f"| data | metric | {' | '.join(f'read {name}' for name in COPIES)} | difference | seeds |"
    yield "|---" * (len(COPIES) + 4) + "|"
    for experiment in EXPERIMENTS:
        scores: dict[str, dict[int, float]] = {name: {} for name in COPIES}
        for run in runs:
            if run.experiment == experiment and (found := result(run.name, log_dir)) is not None:
                scores[run.layout][run.seed] = 100 * found["metrics"][experiment.metric]
        if not any(scores.values()):
            continue
        once, twice = scores.values()
        pairs = sorted(once.keys() & twice.keys())
        cells = [
            spread([*once.values()]),
            spread([*twice.values()]),
            spread([twice[n] - once[n] for n in pairs], sign="+"),
        ]
        yield f"| {experiment.folder} | {experiment.metric} | {' | '.join(cells)} | {len(pairs)} |"


def main() -> None:
    """Run the missing experiments, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the datasets")
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--model", type=Path, help="folder of SmolLM2-135M")
    start.add_argument("--backbone", type=Path, help="run of configs/pretrain_books_nano.yaml")
    parser.add_argument("--log_dir", type=Path, default=Path("logs"))
    parser.add_argument(
        "--block_size", type=int, help="context size of a model, in place of twice that of the configuration"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, help="maximum number of training rows")
    parser.add_argument("--test_rows", type=int, help="maximum number of test rows, and of validation rows")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu", help="hardware; all runs share one GPU")
    parser.add_argument("--only", nargs="*", default=[experiment.folder for experiment in EXPERIMENTS])
    options = parser.parse_args()
    if options.backbone is not None and options.block_size is not None:
        parser.error("--block_size: a backbone keeps its own context size. Leave it out, or use --model")
    settings = Settings(
        options.data,
        (options.model or options.backbone).resolve(),
        options.model is not None,
        options.log_dir,
        options.block_size,
        options.rows,
        options.test_rows,
        options.accelerator,
    )
    runs = [
        Run(experiment, layout, seed, settings.name)
        # The seed is the outermost loop, so that an interrupted call covers all experiments.
        for seed in range(options.seeds)
        for experiment in EXPERIMENTS
        if experiment.folder in options.only
        for layout in COPIES
    ]
    measure_missing(runs, options.log_dir, partial(execute, settings=settings), options.processes)
    print("\n".join(table(runs, options.log_dir)))


if __name__ == "__main__":
    main()
