"""``verify-resume`` on a run that keeps its promise, and on runs that do not."""

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from gpt_lightning.commands.verify_resume import first_difference
from tests.commands.run.test_cli import CONFIG, Run, run
from tests.reliability.conftest import many

__all__ = ["run"]


class Weights(L.Callback):
    """Adds what is another number in each process."""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *arguments: Any) -> None:
        if trainer.global_step == 5:
            pl_module.backbone.token_embedding.weight.data[0, 0] += os.getpid() % 1000


class Rng(L.Callback):
    """Seeds with the number of the process, as who wants other random numbers each time."""

    def on_before_optimizer_step(self, trainer: L.Trainer, *arguments: Any) -> None:
        if trainer.global_step == 4:
            torch.manual_seed(os.getpid())


def test_a_run_that_is_bit_for_bit(run: Run, tmp_path: Path) -> None:
    code, out, err = run("verify-resume", "-c", "config.yaml", "--steps=6", "--save_at=3", "--data.num_workers=1")
    assert code == 0, err
    assert out.splitlines() == [
        "straight through: 6 steps",
        "killed in step 5, resumed from step 3",
        "6 steps: rows, random numbers, weights and optimizer are equal, bit for bit",
    ]
    assert not (tmp_path / "logs").exists()


FAULTS = [("Weights", "step 5: the weights"), ("Rng", "step 5: the RNG")]


@pytest.mark.reliability
@pytest.mark.parametrize(("fault", "said"), FAULTS[: many(1, 2)])
def test_what_differs_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, said: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (tmp_path / "faulty.yaml").write_text(f"trainer: {{callbacks: [tests.commands.test_verify_resume.{fault}]}}\n")
    code, out, err = run(
        *("verify-resume", "-c", "config.yaml", "-c", "faulty.yaml", "--allow_import=tests", "--steps=6", "--save_at=3")
    )
    assert code == 1, err
    assert f"NOT the same: {said} differs" in out


def test_the_first_difference() -> None:
    def line(step: int, **changed: str) -> dict[str, Any]:
        return {"step": step, "batch": "a", "RNG": "b", "weights": "c", "optimizer": "d"} | changed

    straight = [line(1), line(2), line(3)]
    assert first_difference(straight, [line(1), line(2), line(2), line(3)]) is None
    assert first_difference(straight, [line(1), line(2, weights="x", optimizer="x"), line(3)]) == (
        "step 2: the weights differs"
    )
    assert first_difference(straight, [line(1), line(2), line(2, batch="x"), line(3)]) == "step 2: the batch differs"
    assert first_difference(straight, [line(1), line(2)]) == "step 3 is missing"
    assert first_difference(straight, [line(1), line(4)]) == "step 4 is none of the straight run's 3"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to verify: give a configuration"),
        (["-c", "config.yaml", "--save_at=19"], "--save_at 19 must lie between 1 and --steps - 2 = 18"),
        (["-c", "config.yaml", "--data.train=absent.txt"], "absent.txt does not exist"),
    ],
)
def test_bad_input(run: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    code, _, err = run("verify-resume", *arguments)
    assert code in (1, 2)
    assert message in err
    assert "Traceback" not in err
