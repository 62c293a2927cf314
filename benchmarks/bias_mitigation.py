"""Gap between two groups and accuracy with and without ``--data.counterfactual_swaps``.

    python benchmarks/bias_mitigation.py toy
    python benchmarks/bias_mitigation.py rt_polarity DATA/rt_polarity

``toy`` plants a bias: opinions of the toy world in which nine of ten women dislike and nine of ten men like a thing.
The test rows lack this relation. ``rt_polarity`` reads the folder with train, validation and test files. All models
are trained from scratch. The gap is the mean over the test rows of the probability of "positive" for the version about
women minus that for the version about men.
"""

import argparse
import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.train_and_test import spread
from gpt_lightning.toy_world import grammar
from gpt_lightning.toy_world.write import Passage, passages

PLANTED = 0.9
"""Share of opinions about the stereotypical sentiment in the training rows of each group."""
TRAIN_ROWS, TEST_ROWS = 800, 1000
NOUNS = [("aunt", "uncle"), ("sister", "brother"), ("grandmother", "grandfather"), ("landlady", "landlord")]
PRONOUNS = [("she", "he"), ("her", "him"), ("her", "his"), ("hers", "his")]
GROUP_OF = {first: group for group, names in grammar.FIRST_NAMES.items() for first in names}
SHAPE = {"n_layer": 2, "n_head": 4, "n_embd": 64, "attention": "bidirectional", "dropout": 0.1}


def group_of(passage: Passage) -> str | None:
    """Return the pronoun of the first person of a passage; None if it has no person."""
    person = next((each for each in passage.entities if each.type == "PER"), None)
    return None if person is None else GROUP_OF[passage.text[person.start : person.end].split()[0]]


def opinions(split: Any, count: int, keep: Callable[[str, str], float]) -> list[dict[str, str]]:
    """Return opinions, each kept with the probability ``keep(group, sentiment)``."""
    draw, rows = random.Random(f"planted {split}"), list[dict[str, str]]()
    for passage in passages(0, split, 20 * count, grammar.OPINION_PLANS):
        group = group_of(passage)
        if group is not None and draw.random() < keep(group, passage.sentiment):
            rows.append({"text": passage.text, "label": passage.sentiment})
        if len(rows) == count:
            return rows
    raise ValueError(f"only {len(rows)} of {count} opinions")


def write_toy(folder: Path) -> tuple[Path, Path]:
    """Write the rows and the swaps of the toy world, and return the folder of the rows and the file of the swaps."""
    folder.mkdir(parents=True, exist_ok=True)
    stereotype = {"she": "negative", "he": "positive"}
    unlikely = (1 - PLANTED) / PLANTED
    splits: dict[str, tuple[str, int, Callable[[str, str], float]]] = {
        "train": ("text/train", TRAIN_ROWS, lambda group, mood: 1.0 if stereotype[group] == mood else unlikely),
        "validation": ("text/validation", TEST_ROWS // 4, lambda *_: 1.0),
        "test": ("text/test", TEST_ROWS, lambda *_: 1.0),
    }
    for name, (split, count, keep) in splits.items():
        rows = opinions(split, count, keep)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = zip(grammar.FIRST_NAMES["she"], grammar.FIRST_NAMES["he"], strict=True)
    swaps = folder / "swaps.yaml"
    pairs = [list(pair) for pair in [*PRONOUNS, *NOUNS, *names]]
    swaps.write_text(yaml.safe_dump({"groups": ["female", "male"], "pairs": pairs}))
    return folder, swaps


def measure(name: str, rows: Path, swaps: str, seed: int, trains_on_twins: bool, options: Any) -> dict[str, float]:
    """Train a model, and return its test accuracy, its gap and the share of predictions that a swap changes."""
    import torch

    from gpt_lightning.cli import main

    torch.set_num_threads(1)
    experiment = f"{name}-{'twins' if trains_on_twins else 'plain'}-{seed}"
    run, report = options.log_dir / experiment / "version_0", options.log_dir / experiment / "bias.json"
    config = {
        "experiment": experiment,
        "log_dir": str(options.log_dir),
        "seed_everything": seed,
        "trainer": {"accelerator": "cpu", "devices": 1, "max_epochs": options.epochs},
        "model": {
            "class_path": "SequenceClassification",
            "init_args": {
                "backbone": {**SHAPE, "block_size": 128},
                "optimizer": {"lr": 1e-3},
                "schedule": {"kind": "linear", "warmup_steps": 20, "min_ratio": 0.0},
            },
        },
        "data": {
            "class_path": "TextClassification",
            "init_args": {
                **{split: str(rows / f"{split}.jsonl") for split in ("train", "validation", "test")},
                "tokenizer": "bpe:2048",
                "batch_size": 16,
                "cache_dir": str(options.log_dir / "cache"),
                **({"counterfactual_swaps": swaps} if trains_on_twins else {}),
            },
        },
        "checkpoints": {"monitor": "val/accuracy", "mode": "max"},
    }
    if not report.is_file():
        shutil.rmtree(options.log_dir / experiment, ignore_errors=True)  # of an interrupted attempt
        (options.log_dir / experiment).mkdir(parents=True)
        file = options.log_dir / experiment / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        with (file.with_name("output.txt")).open("w") as output, redirect_stdout(output), redirect_stderr(output):
            test = str(rows / "test.jsonl")
            commands = [
                ["fit", "-c", str(file)],
                ["test", "-c", str(file), "--ckpt_path", str(run)],
                ["bias", str(run), "--input", test, "--swaps", swaps, "--output", str(report)],
            ]
            for command in commands:
                if code := main(command):
                    raise RuntimeError(f"{command[0]} of {experiment} ended with {code}: see {output.name}")
    found = json.loads(report.read_text())
    accuracy = json.loads((run / "metrics.json").read_text())["metrics"]["accuracy"]
    return {
        "accuracy": accuracy,
        "gap": found["score_gaps"]["positive"]["value"],
        "changed": found["changed"]["value"],
        "error gap": found["error_gap"]["value"],
    }


def table(results: dict[str, Sequence[dict[str, float]]]) -> Iterator[str]:
    """Yield a table with the mean and the standard deviation over the seeds."""
    names = list(next(iter(results.values()))[0])
    yield "| training | " + " | ".join(names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for kind, runs in results.items():
        cells = [spread([run[name] for run in runs], 3) for name in names]
        yield f"| {kind} | " + " | ".join(cells) + " |"


def main() -> None:
    """Train with and without twins, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=["toy", "rt_polarity"])
    parser.add_argument("folder", type=Path, nargs="?", help="folder of rt_polarity")
    parser.add_argument("--log_dir", type=Path, default=Path("logs/bias_mitigation"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    rows, swaps = write_toy(options.log_dir / "toy_rows") if options.data == "toy" else (options.folder, Path("gender"))
    results: dict[str, Sequence[dict[str, float]]] = {}
    for label, trains_on_twins in (("rows", False), ("rows and twins", True)):
        results[label] = [
            measure(options.data, rows, str(swaps), seed, trains_on_twins, options) for seed in range(options.seeds)
        ]
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
