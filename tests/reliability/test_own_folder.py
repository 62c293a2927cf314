"""Folder of each run, whichever loggers it has: own, claimed, found again, and never written to by another run."""

import csv
import random
from pathlib import Path

import pytest
import yaml

from gpt_lightning.checkpoints.run_folder import claim
from gpt_lightning.errors import InputError
from gpt_lightning.training import Checkpoints
from tests.commands.run.test_cli import Run, fit, run
from tests.reliability import processes
from tests.reliability.conftest import many, tally
from tests.reliability.test_folders import contents
from tests.reliability.test_kill import prepare
from tests.runs import causal_lm, language_modeling, trainer

__all__ = ["run"]

pytestmark = pytest.mark.reliability

LOGGERS = {
    "none": "false",
    "csv": "{class_path: CSVLogger, init_args: {save_dir: mine, version: 0}}",
    "tensorboard": "{class_path: TensorBoardLogger, init_args: {save_dir: mine, name: x, sub_dir: /tmp/no}}",
    "both": "[{class_path: CSVLogger}, {class_path: CSVLogger}, {class_path: TensorBoardLogger}]",
    "remote": "{class_path: tests.training.loggers.MLflowLike}",
    "folder": "{class_path: tests.training.loggers.WritesFolder, init_args: {save_dir: mine}}",
}
"""Name -> value of ``trainer.logger``."""


def files(folder: Path) -> set[str]:
    """Return the names of all files below ``folder`` that runs have written, without the cache of the data."""
    return {name for name in contents(folder) if not name.startswith(("cache/", "config.yaml", "text.txt", "logger"))}


@pytest.mark.parametrize("name", LOGGERS)
def test_every_run_has_a_folder_of_its_own(run: Run, tmp_path: Path, name: str) -> None:
    """Test R18 and R11: two runs never share a folder, and a run resumes in its own."""
    flags = (f"--config=trainer: {{logger: {LOGGERS[name]}}}", "--allow_import=tests", "--trainer.default_root_dir=.")
    out = fit(run, *flags, "--resume=auto")
    assert "ignored trainer.default_root_dir=." in out
    assert ("ignored save_dir=mine" in out) == ("mine" in LOGGERS[name])
    first = tmp_path / "logs/beer/version_0"
    written = {path.name for path in first.iterdir()}
    tally("R18", {"config.yaml", "tokenizer.json", "checkpoints", ".lock"} <= written)
    tally("R18", all(name.startswith("logs/beer/version_0/") for name in files(tmp_path)))
    saved = yaml.safe_load((first / "config.yaml").read_text())["trainer"]["logger"]
    assert ("mine" in str(saved)) == ("mine" in LOGGERS[name]), "the file starts a new run with the same settings"
    before = contents(first)
    fit(run, *flags, "--trainer.max_steps=2")
    tally("R11", contents(first) == before and processes.steps(tmp_path / "logs/beer/version_1") == [2])
    out = fit(run, *flags, "--resume=auto", "--trainer.max_steps=3")
    assert "resumed from logs/beer/version_1/checkpoints/step_2.ckpt" in out
    runs = {path.name: processes.steps(path)[-1] for path in (tmp_path / "logs/beer").iterdir()}
    tally("R18", runs == {"version_0": 4, "version_1": 3})
    tally("R18", all(name.startswith("logs/beer/") for name in files(tmp_path)))


def test_run_without_a_logger_resumes_and_is_tested(run: Run, tmp_path: Path) -> None:
    """Test R18 for the other ways to find a run."""
    for _ in range(2):
        fit(run, "--trainer.logger=false")
    fit(run, "--trainer.logger=false", "--ckpt_path=logs/beer/version_0", "--trainer.max_steps=6")
    runs = {path.name: processes.steps(path)[-1] for path in (tmp_path / "logs/beer").iterdir()}
    tally("R18", runs == {"version_0": 6, "version_1": 4})
    assert run("test", "-c", "config.yaml", "--ckpt_path=logs/beer/version_0")[0] == 0
    tally("R18", {name for name in files(tmp_path) if "metrics.json" in name} == {"logs/beer/version_0/metrics.json"})


def test_resumed_run_keeps_the_table_of_its_metrics(run: Run, tmp_path: Path) -> None:
    """``CSVLogger`` deletes the table that it finds."""
    for steps in (2, 3, 4):
        fit(run, "--trainer.logger=CSVLogger", "--resume=auto", f"--trainer.max_steps={steps}")
    folder = tmp_path / "logs/beer/version_0"
    tables = [list(csv.DictReader(path.read_text().splitlines())) for path in sorted(folder.glob("metrics*.csv"))]
    assert [{int(row["step"]) for row in rows} for rows in tables] == [{1, 2}, {3}, {4}]


@pytest.mark.parametrize(("name", "steps"), list(zip(LOGGERS, ["true", "1", "3"] * 2, strict=True)))
def test_development_run_writes_no_file(run: Run, tmp_path: Path, name: str, steps: str) -> None:
    """Test R18 with ``fast_dev_run`` of another model, in the folder where a run was trained."""
    if name == "none":
        fit(run, "--name=mine")
    before = contents(tmp_path)
    flags = (
        f"--config=trainer: {{logger: {LOGGERS[name]}}}",
        "--allow_import=tests",
        "--name=mine",
        "--model.backbone.n_layer=2",
    )
    fit(run, *flags, f"--trainer.fast_dev_run={steps}", "--data.cache_dir=cache")
    after = {name: data for name, data in contents(tmp_path).items() if not name.startswith(("cache/", "logger"))}
    tally("R18", all(before.get(name) == data for name, data in after.items()))


def test_killed_runs_resume_exactly_with_any_logger(tmp_path: Path) -> None:
    """Test R1 and R11, with two experiments in one working directory."""
    uninterrupted = prepare(tmp_path, "uninterrupted")
    processes.finish(uninterrupted, "--trainer.max_steps=12")
    expected = processes.state(uninterrupted / "logs/run/version_0")
    folder, rng = prepare(tmp_path, "killed"), random.Random(0)
    flags = ("--trainer.max_steps=12", "--resume=auto", "--trainer.callbacks=[]")
    for number in range(many(1, 10)):
        experiments = {f"run_{number}_{logger}": f"--trainer.logger={logger}" for logger in ("false", "CSVLogger")}
        for experiment, logger in experiments.items():
            killed = processes.Run(folder, *flags, f"--experiment={experiment}", logger)
            killed.checkpoints = folder / f"logs/{experiment}/version_0/checkpoints"
            assert killed.wait_for_step(rng.randrange(3, 10)), killed.err.read_text()
            killed.kill()
        for experiment, logger in experiments.items():
            processes.finish(folder, *flags, f"--experiment={experiment}", logger)
            (only,) = (folder / "logs" / experiment).iterdir()
            tally("R1", processes.state(only) == expected)
            tally("R18", only.name == "version_0")


def test_folder_is_locked_without_a_logger(run: Run, tmp_path: Path) -> None:
    """Test R11 with a second run while the first one trains."""
    flags = ("--trainer.logger=false", "--name=one", "--resume=auto")
    fit(run, *flags)
    with claim(Path("logs/beer/one"), is_resumed=True):
        before = contents(tmp_path)
        code, _, err = run("fit", "-c", "config.yaml", *flags, "--trainer.max_steps=6")
        tally("R11", code == 2 and contents(tmp_path) == before)
    assert "logs/beer/one: another process uses this folder" in err


def test_checkpoints_of_another_run_are_not_deleted(tmp_path: Path) -> None:
    """Test R18 for a Trainer of Lightning in a Python program."""

    def train(ckpt_path: Path | None, **settings: int) -> Checkpoints:
        checkpoints = Checkpoints(every_n_steps=1)
        steps = trainer(tmp_path, callbacks=[checkpoints], max_steps=3, limit_val_batches=0, **settings)
        steps.fit(causal_lm(), datamodule=language_modeling(tmp_path), ckpt_path=ckpt_path, weights_only=True)
        return checkpoints

    folder = tmp_path / "checkpoints"
    train(None)
    before = contents(folder)
    with pytest.raises(InputError, match=r"already holds checkpoints of another run\. Resume it with ckpt_path, or"):
        train(None)
    train(None, fast_dev_run=1)
    (folder / "manifest.json").rename(tmp_path / "manifest.json")
    with pytest.raises(InputError, match="already holds checkpoints of another run"):
        train(None)
    (tmp_path / "manifest.json").rename(folder / "manifest.json")
    tally("R18", contents(folder) == before)
    train(folder / "step_2.ckpt")


@pytest.mark.parametrize("experiment", ["/tmp/elsewhere", "../up", "a/../../up"])
def test_experiment_is_below_log_dir(run: Run, tmp_path: Path, experiment: str) -> None:
    for resume in ("never", "auto"):
        code, _, err = run("fit", "-c", "config.yaml", f"--experiment={experiment}", f"--resume={resume}")
        assert (code, "is not a folder below log_dir" in err) == (2, True), err
    assert files(tmp_path) == set()


def test_log_dir_may_name_a_variable(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path / "scratch"))
    for steps in (2, 4):
        fit(run, "--log_dir=$SCRATCH/logs", "--resume=auto", f"--trainer.max_steps={steps}")
    assert processes.steps(tmp_path / "scratch/logs/beer/version_0") == [2, 4]
    tally("R18", all(name.startswith("scratch/logs/beer/version_0/") for name in files(tmp_path)))
