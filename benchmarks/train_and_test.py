"""Training runs and their tests through the command line, several at the same time; only the metrics are kept."""

import json
import os
import random
import shutil
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, TypeVar


class Named(Protocol):
    """A run with a unique name and a main metric."""

    @property
    def name(self) -> str:
        """Folder of the run below the log folder."""
        ...

    @property
    def metric(self) -> str:
        """Name of the main metric."""
        ...


R = TypeVar("R", bound=Named)


def measure_missing(runs: Sequence[R], log_dir: Path, execute: Callable[[R], None], processes: int = 2) -> None:
    """Execute the runs that have no result yet, and print their main metrics as they end.

    Args:
        runs: all runs.
        log_dir: folder of all experiments.
        execute: executes a run; called in a process of its own.
        processes: number of runs at the same time.

    Raises:
        SystemExit: at least one run failed; the others have their results.
    """
    missing = [run for run in runs if result(run.name, log_dir) is None]
    print(f"{len(missing)} of {len(runs)} runs are missing", flush=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    begin, failed = time.perf_counter(), 0
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(execute, run): run for run in missing}
        for future in as_completed(futures):
            run = futures[future]
            if (error := future.exception()) is not None:
                failed += 1
                print(f"{run.name} failed:", file=sys.stderr)
                traceback.print_exception(error)
                continue
            found = result(run.name, log_dir)
            assert found is not None
            scores = {key: found[key][run.metric] for key in ("validation", "metrics") if key in found}
            shown = ", ".join(f"{'test' if key == 'metrics' else key} {value:.4f}" for key, value in scores.items())
            print(f"{run.name}: {run.metric}: {shown}, {found['seconds']:.0f} s", flush=True)
    print(f"{(time.perf_counter() - begin) / 60:.0f} minutes\n")
    if failed:
        sys.exit(f"{failed} runs failed. The same call again repeats them")


def train_and_test(
    name: str,
    log_dir: Path,
    fit: Sequence[str],
    test: Sequence[str],
    validate: Sequence[str] = (),
    *,
    keeps_checkpoints: bool = False,
    accelerator: str = "cpu",
) -> None:
    """Run ``fit`` and ``test`` in this process, on one core or on a GPU.

    Args:
        name: experiment below ``log_dir``; its folder receives ``result.json`` and ``output.txt``.
        log_dir: folder of all experiments.
        fit: flags of the training.
        test: flags of the test.
        validate: flags of a test on validation rows, whose metrics the result has too; none by default.
        keeps_checkpoints: keep the checkpoints, from which other runs start.
        accelerator: ``"cpu"`` or ``"gpu"``.

    Raises:
        RuntimeError: the training or the test failed.
    """
    folder = log_dir / name
    shutil.rmtree(folder, ignore_errors=True)  # of an interrupted attempt
    folder.mkdir(parents=True)
    found: dict[str, Any] = {}
    begin = time.perf_counter()
    run_command(folder, "fit", *fit, f"--log_dir={log_dir}", f"--experiment={name}", accelerator=accelerator)
    found["seconds"] = time.perf_counter() - begin
    for key, flags in (("validation", validate), ("metrics", test)):
        if flags:
            run_command(folder, "test", *flags, f"--ckpt_path={folder}/version_0", accelerator=accelerator)
            measured = json.loads((folder / "version_0" / "metrics.json").read_text())
            found[key] = measured["metrics"]
            found["verdict"] = measured.get("verdict")
    if not keeps_checkpoints:
        shutil.rmtree(folder / "version_0" / "checkpoints")
    (folder / "result.json").write_text(json.dumps(found))


def draw(source: Path, counts: Mapping[str, int | None], folder: Path) -> Path:
    """Write random rows of each split into a folder, and return it.

    Args:
        source: folder of ``SPLIT.jsonl``.
        counts: split -> maximum number of its rows; None takes all.
        folder: folder to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in counts.items():
        lines = (source / f"{split}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        if count is not None and count < len(lines):  # some files are sorted by label
            lines = random.Random(0).sample(lines, count)
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def run_command(folder: Path, *arguments: str, accelerator: str = "cpu") -> None:
    """Run a command of gpt-lightning in this process, and add its output to ``output.txt`` in a folder.

    It has one core and, with ``gpu``, a share of the GPU. No backbone is compiled, because runs are short.

    Raises:
        RuntimeError: the command failed.
    """
    import torch

    from gpt_lightning.cli import main

    torch.set_num_threads(1)
    with (folder / "output.txt").open("a") as output, redirect_stdout(output), redirect_stderr(output):
        device = [f"--trainer.accelerator={accelerator}", "--trainer.devices=1", "--compile=false"]
        code = main([*arguments, *device])
    if code:
        raise RuntimeError(f"{arguments[0]} failed: see {folder}/output.txt")


def result(name: str, log_dir: Path) -> dict[str, Any] | None:
    """Return the ``metrics``, ``validation``, ``verdict`` and ``seconds`` of a run, or None if it has not finished."""
    file = log_dir / name / "result.json"
    found: dict[str, Any] | None = json.loads(file.read_text()) if file.is_file() else None
    return found


def spread(values: Sequence[float], digits: int = 1, sign: str = "") -> str:
    """Return the mean and the standard deviation of values; empty without values.

    Args:
        values: the values.
        digits: digits after the point.
        sign: ``"+"`` shows the sign of a positive mean, too.
    """
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.{digits}f}{deviation}"
