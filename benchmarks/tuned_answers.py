"""Answers of a published model before and after LoRA: instructions, dialogue and summarization.

    python benchmarks/tuned_answers.py MODEL DATA

MODEL is the folder of SmolLM2-135M-Instruct, DATA that of the datasets. Each shipped configuration trains as it is,
with seed 0. The untuned model and the tuned one are tested on all rows of the test split, and answer ten of them. Runs
with a result in --log_dir are not repeated, so an interrupted call can be continued.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.train_and_test import measure_missing, result, run_command
from gpt_lightning.metrics.generated_text import GenerationMetrics

CONFIGS = Path(__file__).parents[1] / "configs"
DATASETS = {
    "smollm2_instruct": "self_instruct_human",
    "smollm2_dialogue": "sgd_dialogues",
    "smollm2_summarization": "scitldr_a",
}
"""Shipped configuration -> folder of its rows."""
METRICS = ("perplexity", "rouge1", "rouge2", "rougeL", "chrf", "complete")
NUM_SAMPLES = 10


@dataclass(frozen=True)
class Run:
    """Test of a model, before or after training it."""

    config: str
    is_tuned: bool

    @property
    def metric(self) -> str:
        """Name of the main metric."""
        return "perplexity"

    @property
    def name(self) -> str:
        """Folder of the run below the log folder."""
        return f"tuned_answers/{self.config}-{'after' if self.is_tuned else 'before'}"


def execute(run: Run, model: Path, data: Path, log_dir: Path, limits: Sequence[str], accelerator: str) -> None:
    """Train if the run is to be tuned, test, and answer the first rows, in this process."""
    folder, rows = log_dir / run.name, data / DATASETS[run.config]
    shutil.rmtree(folder, ignore_errors=True)  # of an interrupted attempt
    folder.mkdir(parents=True)
    first = (rows / "test.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:NUM_SAMPLES]
    (folder / "samples.jsonl").write_text("".join(first), encoding="utf-8")
    config = ("-c", str(CONFIGS / f"{run.config}.yaml"), f"--log_dir={folder}")
    splits = [f"--data.{split}={rows}/{split}.jsonl" for split in ("train", "validation", "test")]
    begin = time.perf_counter()
    if run.is_tuned:
        tested = folder / run.config / "version_0"
        start = f"--model.init_from={model}"
        flags = (start, "--data.generate_examples=0", *limits)
        run_command(folder, "fit", *config, *splits, *flags, accelerator=accelerator)
    else:
        # test writes its metrics next to the model, which is not ours, and which other processes test too.
        tested = folder / "model"
        tested.mkdir()
        for file in model.iterdir():
            (tested / file.name).symlink_to(file)
    common = (*config, f"--ckpt_path={tested}")
    answers = "--data.generate_examples=100000"
    run_command(folder, "test", *common, splits[2], answers, "--verdict=false", accelerator=accelerator)
    sources = f"--data.test={folder}/samples.jsonl", f"--predictions.path={folder}/predictions.jsonl"
    run_command(folder, "predict", *common, *sources, accelerator=accelerator)
    metrics = json.loads((tested / "metrics.json").read_text())["metrics"]
    samples = [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    found = {"metrics": metrics, "samples": samples, "seconds": time.perf_counter() - begin}
    (folder / "result.json").write_text(json.dumps(found))


def lead(rows: Path) -> Mapping[str, float]:
    """Return the scores of the first sentence of each document as its summary."""
    test = [json.loads(line) for line in (rows / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    scores = GenerationMetrics()
    sentences = [row["document"].partition(". ")[0] + "." for row in test]
    scores.add_texts(sentences, [True] * len(test), [row["summaries"] for row in test])
    return {name: float(value) for name, value in scores.compute().items() if name.startswith(("rouge", "chrf"))}


def table(runs: Sequence[Run], data: Path, log_dir: Path) -> Iterator[str]:
    """Yield the rows of the table."""
    yield f"| rows | model | {' | '.join(METRICS)} |\n|---|---|{'---:|' * len(METRICS)}"
    for run in runs:
        found = result(run.name, log_dir)
        if found is not None:
            yield _row(DATASETS[run.config], "LoRA" if run.is_tuned else "untuned", found["metrics"])
    yield _row("scitldr_a", "first sentence", lead(data / "scitldr_a"))


def _row(rows: str, model: str, metrics: Mapping[str, Any]) -> str:
    cells = (f"{metrics[name]:.3f}" if name in metrics else "" for name in METRICS)
    return f"| {rows} | {model} | {' | '.join(cells)} |"


def samples(config: str, log_dir: Path) -> Iterator[str]:
    """Yield the answers to the first test rows, of both models."""
    before, after = (result(Run(config, is_tuned).name, log_dir) for is_tuned in (False, True))
    if before is None or after is None:
        return
    yield f"\n{DATASETS[config]}"
    for untuned, tuned in zip(before["samples"], after["samples"], strict=True):
        yield json.dumps({"untuned": untuned, "tuned": tuned}, ensure_ascii=False, indent=1)


def main() -> None:
    """Run the missing experiments, and print the table and the samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the model")
    parser.add_argument("data", type=Path, help="folder of the datasets")
    parser.add_argument("--only", nargs="*", default=list(DATASETS), help="configurations")
    parser.add_argument("--limits", nargs="*", default=[], help="more flags of fit")
    parser.add_argument("--processes", type=int, default=2, help="runs at the same time")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu", help="hardware; all runs share one GPU")
    parser.add_argument("--log_dir", type=Path, default=Path("logs"))
    options = parser.parse_args()
    runs = [Run(config, is_tuned) for config in options.only for is_tuned in (False, True)]
    execution = partial(
        execute,
        model=options.model.resolve(),
        data=options.data.resolve(),
        log_dir=options.log_dir,
        limits=options.limits,
        accelerator=options.accelerator,
    )
    measure_missing(runs, options.log_dir, execution, options.processes)
    print("\n".join(table(runs, options.data, options.log_dir)))
    for config in options.only:
        print("\n".join(samples(config, options.log_dir)))


if __name__ == "__main__":
    main()
