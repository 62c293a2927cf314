"""``gpt-lightning verify-resume``: compare a killed and resumed run with an uninterrupted one, step by step."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gpt_lightning.commands.parser import ParserWithPage


def parser() -> ParserWithPage:
    """Return the command's own options; all others are passed to ``fit``."""
    p = ParserWithPage(
        allow_abbrev=False,
        prog="gpt-lightning verify-resume",
        usage="gpt-lightning verify-resume -c FILE [options] [options of fit]",
        description="Check that resuming changes nothing. A few steps are trained twice: once without interruption, "
        "and once killed (kill -9) in the middle of a step and resumed. Rows, random numbers, weights and optimizer "
        "state are compared after each step, and the first difference is printed. All other options are those of fit.",
    )
    p.examples = ["gpt-lightning verify-resume -c logs/first_run/version_0/config.yaml --steps 6 --save_at 3"]
    p.add_argument("--steps", type=int, default=20, help="optimizer steps of both runs")
    p.add_argument("--save_at", type=int, default=10, help="step of the checkpoint that is resumed from")
    return p


def main(argv: list[str]) -> int:
    """Print the result; return 0 if both runs are equal, else 1."""
    from gpt_lightning.errors import InputError

    options, fit_arguments = parser().parse_known_args(argv)
    if options.steps < 3:
        raise InputError(f"--steps {options.steps} must be at least 3, so that a checkpoint lies between them")
    if not 1 <= options.save_at < options.steps - 1:
        raise InputError(f"--save_at {options.save_at} must lie between 1 and --steps - 2 = {options.steps - 2}")
    if not fit_arguments:
        raise InputError("no configuration. Give one, as in gpt-lightning verify-resume -c FILE")
    with tempfile.TemporaryDirectory() as folder:
        uninterrupted, killed = Path(folder, "uninterrupted.jsonl"), Path(folder, "killed.jsonl")
        fixed = [
            *fit_arguments,
            f"--log_dir={folder}",
            "--trainer.max_epochs=-1",
            f"--trainer.max_steps={options.steps}",
            "--trainer.limit_val_batches=2",
            f"--checkpoints.every_n_steps={options.save_at}",
        ]
        print(f"without interruption: {options.steps} steps", flush=True)
        fit([*fixed, "--experiment=uninterrupted"], uninterrupted)
        print(f"killed in step {options.save_at + 2}, resumed from step {options.save_at}", flush=True)
        fit([*fixed, "--experiment=killed"], killed, kill_in=options.save_at + 2)
        fit([*fixed, "--experiment=killed", "--resume=auto"], killed)
        difference = first_difference(read(uninterrupted), read(killed))
    if difference is not None:
        print(f"NOT equal: {difference}")
        return 1
    print(f"{options.steps} steps: rows, random numbers, weights and optimizer are equal, bit for bit")
    return 0


def fit(arguments: list[str], record: Path, kill_in: int | None = None) -> None:
    """Train in a new process, and record each step.

    Args:
        arguments: options of ``fit``.
        record: the file to write.
        kill_in: the step in which the process is killed; None lets it finish.

    Raises:
        RunError: the process failed.
    """
    from gpt_lightning.errors import RunError
    from gpt_lightning.training.step_record import KILL

    callback, settings = "gpt_lightning.training.StepRecord", {"path": str(record), "kill_in": kill_in}
    recorder = json.dumps({"class_path": callback, "init_args": settings})
    added = [f"--trainer.callbacks+={recorder}", f"--allow_import={callback}"]
    command = [sys.executable, "-m", "gpt_lightning", "fit", *arguments, *added]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    # POSIX gives the signal of a killed process as a negative number, Windows as the exit code.
    if abs(done.returncode) != (0 if kill_in is None else KILL):
        raise RunError(f"a run failed with exit code {done.returncode}:\n{done.stderr.strip()[-2000:]}")


def read(record: Path) -> list[dict[str, Any]]:
    """Return the lines of a ``StepRecord``."""
    return [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]


def first_difference(uninterrupted: list[dict[str, Any]], killed: list[dict[str, Any]]) -> str | None:
    """Return the step and the part in which two records differ first; None if they are equal."""
    expected = {line["step"]: line for line in uninterrupted}
    for line in killed:
        step = line["step"]
        if step not in expected:
            return f"step {step} is beyond the {len(expected)} steps of the uninterrupted run"
        for part, value in line.items():
            if value != expected[step][part]:
                return f"step {step}: the {part} differs"
    missing = sorted(set(expected) - {line["step"] for line in killed})
    return f"step {missing[0]} is missing" if missing else None
