"""What fine-tuning reaches on seven real data sets, from scratch and from a backbone; the README's table.

    python benchmarks/results.py DATA BACKBONE

DATA is the folder of the data sets, BACKBONE the run of configs/pretrain_books_nano.yaml. Two trainings run at a time,
on one core each. What has been measured already is taken from --log_dir: an interrupted call goes on where it was.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.baselines import bag_of_words, trivial

CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True)
class Experiment:
    """A configuration, the folder of its data, and what counts."""

    config: str
    folder: str
    metric: str


EXPERIMENTS = (
    Experiment("sentiment_rt_polarity", "rt_polarity", "accuracy"),
    Experiment("intents_banking77", "banking77", "accuracy"),
    Experiment("intents_snips", "snips", "accuracy"),
    Experiment("slots_snips", "snips", "f1"),
    Experiment("ner_wnut17", "wnut17", "f1"),
    Experiment("qa_squadshifts", "squadshifts_wiki", "f1"),
    Experiment("qa_squad2", "squad2_sample", "f1"),
)
STARTS = ("scratch", "backbone")
ATTENTIONS = ("causal", "bidirectional")


@dataclass(frozen=True)
class Run:
    """One training and its test."""

    experiment: Experiment
    start: str
    attention: str
    seed: int

    @property
    def name(self) -> str:
        """The run's folder in the log folder."""
        return f"results/{self.experiment.config}-{self.start}-{self.attention}-{self.seed}"


def execute(run: Run, data: Path, backbone: Path, log_dir: Path) -> None:
    """Train and test in this process; only the metrics are kept."""
    import torch

    from gpt_lightning.cli import main

    torch.set_num_threads(1)
    folder = log_dir / run.name
    shutil.rmtree(folder, ignore_errors=True)  # an attempt that was interrupted
    folder.mkdir(parents=True)
    rows = data / run.experiment.folder
    # From scratch with the same tokenizer: the weights are all that differs.
    start = (
        [f"--model.init_from={backbone}"]
        if run.start == "backbone"
        else [f"--data.tokenizer={backbone}/tokenizer.json"]
    )
    config = ["-c", str(CONFIGS / f"{run.experiment.config}.yaml"), "--trainer.accelerator=cpu", "--trainer.devices=1"]
    with (folder / "output.txt").open("w") as output, redirect_stdout(output), redirect_stderr(output):
        begin = time.perf_counter()
        codes = [
            main(
                [
                    *(
                        "fit",
                        *config,
                        f"--seed_everything={run.seed}",
                        f"--log_dir={log_dir}",
                        f"--experiment={run.name}",
                    ),
                    *(f"--data.train={rows}/train.jsonl", f"--data.validation={rows}/validation.jsonl"),
                    f"--model.backbone.attention={run.attention}",
                    *start,
                ]
            )
        ]
        seconds = time.perf_counter() - begin
        codes.append(
            main(
                [
                    *("test", *config, f"--data.test={rows}/test.jsonl", f"--ckpt_path={folder}/version_0"),
                    f"--model.backbone.attention={run.attention}",
                ]
            )
        )
    if any(codes):
        raise RuntimeError(f"{run.name} failed: see {folder}/output.txt")
    shutil.rmtree(folder / "version_0" / "checkpoints")
    measured = json.loads((folder / "version_0" / "metrics.json").read_text())
    (folder / "result.json").write_text(json.dumps({"metrics": measured["metrics"], "seconds": seconds}))


def result(run: Run, log_dir: Path) -> dict[str, dict[str, float]] | None:
    """What was measured, if it was."""
    file = log_dir / run.name / "result.json"
    found: dict[str, dict[str, float]] | None = json.loads(file.read_text()) if file.is_file() else None
    return found


def table(runs: list[Run], data: Path, log_dir: Path) -> Iterator[str]:
    """The rows of the README's table."""
    columns = [(start, attention) for start in STARTS for attention in ATTENTIONS]
    names = [f"{start}, {attention}" for start, attention in columns]
    yield "| data | metric | trivial | TF-IDF | " + " | ".join(names) + " |"
    yield "|---" * (4 + len(columns)) + "|"
    for experiment in EXPERIMENTS:
        mine = [run for run in runs if run.experiment == experiment]
        if not mine:
            continue
        words = bag_of_words(data / experiment.folder) if experiment.metric == "accuracy" else None
        cells = [f"{100 * trivial(data / experiment.folder, experiment.config):.1f}"]
        cells.append("" if words is None else f"{100 * words:.1f}")
        for start, attention in columns:
            found = [result(run, log_dir) for run in mine if (run.start, run.attention) == (start, attention)]
            scores = [100 * each["metrics"][experiment.metric] for each in found if each is not None]
            spread = f" ± {statistics.stdev(scores):.1f}" if len(scores) > 1 else ""
            cells.append(f"{statistics.mean(scores):.1f}{spread}" if scores else "")
        yield f"| {experiment.config} | {experiment.metric} | " + " | ".join(cells) + " |"


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("backbone", type=Path, help="run of configs/pretrain_books_nano.yaml")
    parser.add_argument("--log_dir", type=Path, default=Path("logs"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[experiment.config for experiment in EXPERIMENTS])
    options = parser.parse_args()
    backbone = options.backbone.resolve()
    runs = [
        Run(experiment, start, attention, seed)
        # Seeds outermost: an interrupted call has something of everything.
        for seed in range(options.seeds)
        for experiment in EXPERIMENTS
        if experiment.config in options.only
        for attention in ATTENTIONS
        for start in STARTS
    ]
    missing = [run for run in runs if result(run, options.log_dir) is None]
    print(f"{len(missing)} of {len(runs)} runs are missing", flush=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    begin = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(execute, run, options.data, backbone, options.log_dir): run for run in missing}
        for future, run in futures.items():
            future.result()
            found = result(run, options.log_dir)
            assert found is not None
            score = found["metrics"][run.experiment.metric]
            print(f"{run.name}: {run.experiment.metric} {score:.4f}, {found['seconds']:.0f} s", flush=True)
    print(f"{(time.perf_counter() - begin) / 60:.0f} minutes\n")
    print("\n".join(table(runs, options.data, options.log_dir)))


if __name__ == "__main__":
    main()
