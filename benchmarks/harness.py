"""Our adapter for lm-evaluation-harness compared with its own HFLM, on the same weights.

    python benchmarks/harness.py MODEL TASKS_DIR [--tasks blimp] [--limit N] [--threads 2]

MODEL is a Hugging Face folder, TASKS_DIR a folder that ``harness_tasks.py`` wrote. Both sides use float32. The time is
that of the requests with tokenization, after data and weights are loaded. HFLM needs a fixed number of rows per batch:
each of ``--batch_sizes`` is tried on the first rows of the first task of each group, and the fastest is used. Results
are stored after each task in ``TASKS_DIR/measured.json`` and not measured again.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.model import LM

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.evaluation.lm_eval.load_tasks import load_tasks
from gpt_lightning.evaluation.lm_eval.model import BATCH_TOKENS, HarnessLM
from gpt_lightning.evaluation.lm_eval.run import quiet, run_tasks
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tasks.load import load_task

SIDES = ("ours", "hf")
TRIED_ROWS = 32


class Measured:
    """Results in a file that is written after each task."""

    def __init__(self, file: Path, settings: str) -> None:
        self.file = file
        self.settings = settings
        self.records: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    def get(self, side: str, task: str) -> Any:
        """Return the result of a task, or None."""
        return self.records.get(f"{side} {task} {self.settings}")

    def put(self, side: str, task: str, record: Any) -> None:
        """Store the result of a task."""
        self.records[f"{side} {task} {self.settings}"] = record
        with atomic_write(self.file) as file:
            file.write(json.dumps(self.records, indent=1).encode())


def ours(options: argparse.Namespace) -> LM:
    """Return our adapter."""
    task, tokenizer = load_task(options.model)
    assert isinstance(task, CausalLM)
    return HarnessLM(task.float(), tokenizer, options.batch_tokens)


def hflm(options: argparse.Namespace) -> LM:
    """Return the harness's own adapter for Hugging Face models."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(options.model), device="cpu", dtype="float32", batch_size=1)


def measure(lm: LM, name: str, task: Any, limit: int | None) -> dict[str, Any]:
    """Return the scores, answers and seconds of one task."""
    start = time.perf_counter()
    with quiet(bars=False):
        measured = run_tasks(lm, {"tasks": {name: task}}, limit=limit, log_samples=True)
    seconds = time.perf_counter() - start
    scores = {key.split(",")[0]: value for key, value in measured["results"][name].items() if key.endswith(",none")}
    answers = [answer for row in measured["samples"][name] for answer in row["filtered_resps"]]
    return {"seconds": seconds, "scores": {k: v for k, v in scores.items() if "stderr" not in k}, "answers": answers}


def best_batch_size(lm: Any, name: str, task: Any, sizes: list[int]) -> int:
    """Return the number of rows per batch with which HFLM is fastest."""
    seconds = {}
    for size in sizes:
        lm.batch_size_per_gpu = size
        seconds[size] = measure(lm, name, task, TRIED_ROWS)["seconds"]
    print(f"  HFLM, {TRIED_ROWS} rows of {name}: " + ", ".join(f"batch of {n} {s:.1f} s" for n, s in seconds.items()))
    return min(seconds, key=lambda size: seconds[size])


def groups(loaded: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield each group with its tasks; a task outside all groups is a group of its own."""
    members: dict[str, list[str]] = loaded.get("group_map") or {}
    yield from members.items()
    inside = {name for names in members.values() for name in names}
    yield from ((name, [name]) for name in loaded["tasks"] if name not in inside)


def run_side(side: str, loaded: dict[str, Any], known: Measured, options: argparse.Namespace) -> None:
    """Measure the tasks of one side that have no result yet."""
    missing = [name for name in loaded["tasks"] if known.get(side, name) is None]
    if not missing:
        return
    make: Callable[[argparse.Namespace], LM] = ours if side == "ours" else hflm
    with quiet(bars=False):
        lm: Any = make(options)
    for group, names in groups(loaded):
        if side == "hf" and any(name in missing for name in names):
            size = known.get("hf batch size", group)
            if size is None:
                size = best_batch_size(lm, names[0], loaded["tasks"][names[0]], options.batch_sizes)
                known.put("hf batch size", group, size)
            lm.batch_size_per_gpu = size
        for name in names:
            if name in missing:
                known.put(side, name, measure(lm, name, loaded["tasks"][name], options.limit))
                print(f"  {side} {name}: {known.get(side, name)['seconds']:.1f} s", flush=True)
    del lm
    gc.collect()


def table(loaded: dict[str, Any], known: Measured) -> Iterator[str]:
    """Yield the rows of the table: each task, and the mean of each group."""
    yield "| task | metric | ours | HFLM | equal | largest difference of an answer | ours, s | HFLM, s | ratio |"
    yield "|---|---|---:|---:|---|---:|---:|---:|---:|"
    for group, names in groups(loaded):
        pairs = [(name, known.get("ours", name), known.get("hf", name)) for name in names]
        both = [(name, mine, other) for name, mine, other in pairs if mine is not None and other is not None]
        for name, mine, other in both:
            yield from rows(name, mine, other)
        if len(both) > 1:
            name = f"{group}, mean of {len(both)}"
            yield from rows(name, mean([mine for _, mine, _ in both]), mean([other for _, _, other in both]))


def mean(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the results of several tasks combined into one."""
    metrics = records[0]["scores"]
    return {
        "scores": {metric: sum(each["scores"][metric] for each in records) / len(records) for metric in metrics},
        "seconds": sum(each["seconds"] for each in records),
        "answers": [answer for each in records for answer in each["answers"]],
    }


def rows(name: str, mine: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """Yield a row for each metric of a task."""
    apart = max(abs(a[0] - b[0]) for a, b in zip(mine["answers"], other["answers"], strict=True))
    same_flags = all(a[1] == b[1] for a, b in zip(mine["answers"], other["answers"], strict=True))
    times = f"{mine['seconds']:.1f} | {other['seconds']:.1f} | {other['seconds'] / mine['seconds']:.2f}"
    for metric, score in mine["scores"].items():
        texts = f"{score:.4f}", f"{other['scores'][metric]:.4f}"
        equal = "yes" if texts[0] == texts[1] and same_flags else "NO"
        yield f"| {name} | {metric} | {texts[0]} | {texts[1]} | {equal} | {apart:.1e} | {times} |"


def main() -> None:
    """Measure the missing results, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("tasks_dir", type=Path, help="folder of task files")
    parser.add_argument("--tasks", default="blimp,lambada_openai", help="tasks or groups in that folder")
    parser.add_argument("--side", choices=[*SIDES, "both"], default="both")
    parser.add_argument("--limit", type=int, help="number of rows of each task, from the first")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch_tokens", type=int, default=BATCH_TOKENS, help="number of tokens in our batches")
    parser.add_argument(
        "--batch_sizes", type=int, nargs="+", default=[1, 4, 16, 64], help="batch sizes to try with HFLM"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = f"{options.model.resolve().name}, limit {options.limit}, {options.threads} threads"
    known = Measured(options.tasks_dir / "measured.json", settings)
    with quiet(bars=False):
        loaded = load_tasks(options.tasks.split(","), str(options.tasks_dir))
    for side in SIDES if options.side == "both" else (options.side,):
        run_side(side, loaded, known, options)
    print("\n".join(table(loaded, known)))


if __name__ == "__main__":
    main()
