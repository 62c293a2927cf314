"""Invalid values of every argument of the Trainer."""

import inspect
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as L
import pytest
from lightning.pytorch.strategies import DDPStrategy

from gpt_lightning.cli import main
from gpt_lightning.commands.run.trainer_checks import check_processes
from gpt_lightning.errors import InputError
from tests.reliability.conftest import many, tally
from tests.reliability.processes import CONFIG
from tests.runs import write_text

VALUES: Final = (
    "null",
    "-1",
    "0",
    "3",
    "1e30",
    "99999999999999999999",
    "text",
    "[]",
    "{}",
    "[[1]]",
    "{a: 1}",
    "nan",
    "''",
)
ARGUMENTS: Final = [
    name for name in inspect.signature(L.Trainer).parameters if name not in ("accelerator", "max_steps", "devices")
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the working directory, with a text and a configuration that trains one step."""
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path)
    config = CONFIG.replace("callbacks: {class_path: tests.reliability.processes.RowLog}", "callbacks: null")
    (tmp_path / "config.yaml").write_text(config.replace("max_steps: 60", "max_steps: 1"))
    yield tmp_path
    os.environ.pop("PL_GLOBAL_SEED", None)


def fit(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run ``fit`` and return the exit code and standard error, or without an error standard output."""
    capsys.readouterr()
    try:
        code = main(["fit", "-c", "config.yaml", *arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, err if code else out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["strategy=bad"], "invalid strategy name"),
        (["strategy=ddp_spawn", "devices=2"], "by fork or spawn, which is unsupported. Use --trainer.strategy=ddp"),
        (["strategy=fsdp"], "requires a GPU accelerator"),
        (["accelerator=bad"], "Available names are"),
        (["devices=-1"], "should be an int > 0. Check trainer.devices"),
        (["devices=99"], "trainer.devices=99 starts a process for each device, but this machine has"),
        (["accumulate_grad_batches=0"], "trainer.accumulate_grad_batches=0 must be at least 1"),
        (["log_every_n_steps=0"], "trainer.log_every_n_steps=0 must be at least 1"),
        (["val_check_interval=0"], "trainer.val_check_interval=0 must be positive"),
        (["val_check_interval=99", "check_val_every_n_epoch=1"], "must be less than or equal to the number of the"),
        (["gradient_clip_val=-1"], "trainer.gradient_clip_val=-1 must be at least 0"),
        (["barebones=true"], "trainer.barebones=true"),
        (["num_nodes=2"], "the environment variable MASTER_ADDR is missing"),
        (["max_time={lightyears: 1}"], "'lightyears' is an invalid keyword argument"),
        (["precision=transformer-engine"], "Requirement 'transformer_engine"),
    ],
)
def test_invalid_settings_of_the_trainer(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = fit(capsys, *(f"--trainer.{each}" for each in arguments))
    assert message in err
    tally("R19", code == 2 and err.startswith("gpt-lightning fit: "))


def test_a_logger_that_is_not_installed(capsys: pytest.CaptureFixture[str]) -> None:
    name = "lightning.pytorch.loggers.WandbLogger"
    code, err = fit(capsys, f"--trainer.logger={name}", f"--allow_import={name}")
    assert (code, "Requirement 'wandb" in err) == (2, True), err


@pytest.mark.parametrize("seed", ["-1", "4294967296", "99999999999999999999"])
def test_seeds_that_numpy_refuses(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = fit(capsys, f"--seed_everything={seed}")
    assert (code, f"seed_everything={seed} must be between 0 and 4294967295" in err) == (2, True)


def test_tasks_of_slurm_that_lightning_refuses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    code, err = fit(capsys)
    assert (code, "--ntasks-per-node=4" in err) == (2, True)


def test_a_strategy_object_that_spawns_is_refused() -> None:
    trainer = L.Trainer(accelerator="cpu", strategy=DDPStrategy(start_method="spawn"), logger=False)
    with pytest.raises(InputError, match=r"Use --trainer\.strategy=ddp"):
        check_processes(trainer)


@pytest.mark.reliability
@pytest.mark.filterwarnings("ignore")
def test_every_argument_with_values_of_every_type(capsys: pytest.CaptureFixture[str]) -> None:
    """Test R19. A run ends with a step taken, or with a short message."""
    trials = [(name, value) for name in ARGUMENTS for value in VALUES]
    random.Random(0).shuffle(trials)
    wrong = []
    for name, value in trials[: many(12, len(trials))]:
        code, text = fit(capsys, f"--trainer.{name}={value}")
        trained = code == 0 and "Stopped after" in text
        is_short = code in (1, 2) and 0 < text.count("\n") < 12 and "does not handle" not in text
        if trained or is_short:
            tally("R19", held=True)
        else:
            wrong.append((name, value, code, text))
    assert not wrong


def test_the_walk_covers_the_trainer() -> None:
    known: Any = inspect.signature(L.Trainer).parameters
    assert len(ARGUMENTS) == len(known) - 3 > 30
