"""``verify-resume`` on a reproducible run, and on runs that are not reproducible."""

import os
import subprocess
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from gpt_lightning.commands.verify_resume import first_difference
from tests.commands.run.test_cli import CONFIG, Run, run
from tests.reliability.conftest import many
from tests.reliability.processes import Run as ForkedRun

__all__ = ["run"]


class Weights(L.Callback):
    """Change a weight by a number that differs between processes."""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *arguments: Any) -> None:
        if trainer.global_step == 5:
            pl_module.backbone.token_embedding.weight.data[0, 0] += os.getpid() % 1000


class Rng(L.Callback):
    """Seed the random numbers with the number of the process."""

    def on_before_optimizer_step(self, trainer: L.Trainer, *arguments: Any) -> None:
        if trainer.global_step == 4:
            torch.manual_seed(os.getpid())


def test_a_reproducible_run_is_equal_bit_for_bit(run: Run, tmp_path: Path) -> None:
    code, out, err = run("verify-resume", "-c", "config.yaml", "--steps=6", "--save_at=3", "--data.num_workers=1")
    assert code == 0, err
    assert out.splitlines() == [
        "without interruption: 6 steps",
        "killed in step 5, resumed from step 3",
        "6 steps: rows, random numbers, weights and optimizer are equal, bit for bit",
    ]
    assert not (tmp_path / "logs").exists()


def run_forked(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
    """Run ``python -m gpt_lightning`` in a forked process, which starts fast."""
    name, *arguments = command[3:]
    process = ForkedRun(Path.cwd(), *arguments, command=name, config="")
    return subprocess.CompletedProcess(command, process.end(), process.out.read_text(), process.err.read_text())


FAULTS = [("Weights", "step 5: the weights"), ("Rng", "step 5: the RNG")]


@pytest.mark.reliability
@pytest.mark.parametrize(("fault", "message"), FAULTS[: many(1, 2)])
def test_the_first_difference_is_printed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    monkeypatch.setattr("gpt_lightning.commands.verify_resume.subprocess.run", run_forked)
    (tmp_path / "faulty.yaml").write_text(f"trainer: {{callbacks: [tests.commands.test_verify_resume.{fault}]}}\n")
    code, out, err = run(
        *("verify-resume", "-c", "config.yaml", "-c", "faulty.yaml", "--allow_import=tests", "--steps=6", "--save_at=3")
    )
    assert code == 1, err
    assert f"NOT equal: {message} differs" in out


def test_the_first_difference_of_two_records() -> None:
    def line(step: int, **changed: str) -> dict[str, Any]:
        return {"step": step, "batch": "a", "RNG": "b", "weights": "c", "optimizer": "d"} | changed

    uninterrupted = [line(1), line(2), line(3)]
    assert first_difference(uninterrupted, [line(1), line(2), line(2), line(3)]) is None
    assert first_difference(uninterrupted, [line(1), line(2, weights="x", optimizer="x"), line(3)]) == (
        "step 2: the weights differs"
    )
    assert (
        first_difference(uninterrupted, [line(1), line(2), line(2, batch="x"), line(3)]) == "step 2: the batch differs"
    )
    assert first_difference(uninterrupted, [line(1), line(2)]) == "step 3 is missing"
    assert (
        first_difference(uninterrupted, [line(1), line(4)]) == "step 4 is beyond the 3 steps of the uninterrupted run"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no configuration. Give one"),
        (["-c", "config.yaml", "--steps=0"], "--steps 0 must be at least 3"),
        (["-c", "config.yaml", "--save_at=19"], "--save_at 19 must lie between 1 and --steps - 2 = 18"),
        (["-c", "config.yaml", "--data.train=absent.txt"], "absent.txt does not exist"),
    ],
)
def test_invalid_input_is_refused(run: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    code, _, err = run("verify-resume", *arguments)
    assert code in (1, 2)
    assert message in err
    assert "Traceback" not in err
