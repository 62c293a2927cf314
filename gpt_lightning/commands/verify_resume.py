"""``gpt-lightning verify-resume``: compare a run that is killed and resumed with one that is not, step by step."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def parser() -> argparse.ArgumentParser:
    """The command's options; all others are left to ``fit``."""
    p = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="gpt-lightning verify-resume",
        description="Train a few steps twice: straight through, and killed (kill -9) in the middle of a step and "
        "resumed. Rows, random numbers, weights and optimizer are compared after each step, and the first difference "
        "is named. All other options are those of fit: verify-resume -c CONFIG --data.train FILE.",
    )
    p.add_argument("--steps", type=int, default=20, help="optimizer steps of both runs")
    p.add_argument("--save_at", type=int, default=10, help="the step of the checkpoint that is resumed from")
    return p


def main(argv: list[str]) -> int:
    """Print what was compared; 0 if all of it was equal, 1 if something was not."""
    from gpt_lightning.errors import InputError

    options, fit_arguments = parser().parse_known_args(argv)
    if not 1 <= options.save_at < options.steps - 1:
        raise InputError(f"--save_at {options.save_at} must lie between 1 and --steps - 2 = {options.steps - 2}")
    if not fit_arguments:
        raise InputError("nothing to verify: give a configuration, as in gpt-lightning verify-resume -c CONFIG")
    with tempfile.TemporaryDirectory() as folder:
        straight, killed = Path(folder, "straight.jsonl"), Path(folder, "killed.jsonl")
        fixed = [
            *fit_arguments,
            f"--log_dir={folder}",
            "--trainer.max_epochs=-1",
            f"--trainer.max_steps={options.steps}",
            "--trainer.limit_val_batches=2",
            f"--checkpoints.every_n_steps={options.save_at}",
        ]
        print(f"straight through: {options.steps} steps", flush=True)
        fit([*fixed, "--experiment=straight"], straight)
        print(f"killed in step {options.save_at + 2}, resumed from step {options.save_at}", flush=True)
        fit([*fixed, "--experiment=killed"], killed, kill_in=options.save_at + 2)
        fit([*fixed, "--experiment=killed", "--resume=auto"], killed)
        difference = first_difference(read(straight), read(killed))
    if difference is not None:
        print(f"NOT the same: {difference}")
        return 1
    print(f"{options.steps} steps: rows, random numbers, weights and optimizer are equal, bit for bit")
    return 0


def fit(arguments: list[str], record: Path, kill_in: int | None = None) -> None:
    """Train in a process of its own, which is killed in the step ``kill_in``."""
    from gpt_lightning.errors import RunError
    from gpt_lightning.training.step_record import KILL

    settings = {"path": str(record), "kill_in": kill_in}
    recorder = json.dumps({"class_path": "gpt_lightning.training.StepRecord", "init_args": settings})
    command = [sys.executable, "-m", "gpt_lightning", "fit", *arguments, f"--trainer.callbacks+={recorder}"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    # POSIX gives the signal of a killed process as a negative number, Windows as the exit code.
    if abs(done.returncode) != (0 if kill_in is None else KILL):
        said = done.stderr.strip()[-2000:]
        raise RunError(f"this run did not end as it should (exit code {done.returncode}):\n{said}")


def read(record: Path) -> list[dict[str, Any]]:
    """The lines of a ``StepRecord``."""
    return [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]


def first_difference(straight: list[dict[str, Any]], killed: list[dict[str, Any]]) -> str | None:
    """Where two records part: the step, and the first of its parts; None if they never do."""
    expected = {line["step"]: line for line in straight}
    for line in killed:
        step = line["step"]
        if step not in expected:
            return f"step {step} is none of the straight run's {len(expected)}"
        for part, value in line.items():
            if value != expected[step][part]:
                return f"step {step}: the {part} differs"
    missing = sorted(set(expected) - {line["step"] for line in killed})
    return f"step {missing[0]} is missing" if missing else None
