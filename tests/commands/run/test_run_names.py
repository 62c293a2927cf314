"""Named runs: their folders, and how they resume."""

from pathlib import Path

import pytest
import yaml

from tests.commands.run.test_cli import Run, fit, run
from tests.reliability.processes import steps

__all__ = ["run"]


def test_a_name_is_the_folder_of_the_run(run: Run, tmp_path: Path) -> None:
    out = fit(run, "--name=from_scratch")
    folder = tmp_path / "logs/beer/from_scratch"
    assert steps(folder)[-1] == 4
    assert list(folder.glob("events.*")), "TensorBoard shows a run by its folder"
    assert "in logs/beer/from_scratch" in out
    assert yaml.safe_load((folder / "config.yaml").read_text())["name"] is None, "the file starts a new run"
    assert run("test", "-c", "config.yaml", "--ckpt_path=logs/beer/from_scratch")[0] == 0


def test_a_name_that_is_taken_is_refused(run: Run, tmp_path: Path) -> None:
    fit(run, "--name=mine")
    before = steps(tmp_path / "logs/beer/mine")
    code, _, err = run("fit", "-c", "config.yaml", "--name=mine", "--trainer.max_steps=6")
    assert (code, steps(tmp_path / "logs/beer/mine")) == (2, before)
    assert "--name=mine: logs/beer/mine already holds a run. Choose another name, or resume with --resume=auto" in err


def test_a_name_is_free_if_its_run_was_killed_early(run: Run, tmp_path: Path) -> None:
    (tmp_path / "logs/beer/mine").mkdir(parents=True)
    (tmp_path / "logs/beer/mine/.lock").touch()
    fit(run, "--name=mine")


def test_resume_auto_finds_the_named_run(run: Run, tmp_path: Path) -> None:
    for _ in range(2):  # The first starts the run.
        fit(run, "--name=mine", "--resume=auto")
    fit(run)  # another run, which is newer
    out = fit(run, "--name=mine", "--resume=auto", "--trainer.max_steps=6")
    assert "resumed from logs/beer/mine/checkpoints/step_4.ckpt" in out
    assert steps(tmp_path / "logs/beer/mine")[-1] == 6
    assert {path.name for path in (tmp_path / "logs/beer").iterdir()} == {"mine", "version_0"}


def test_resume_auto_without_a_name_takes_the_newest_unnamed_run(run: Run, tmp_path: Path) -> None:
    fit(run)
    fit(run, "--name=mine")
    assert "resumed from logs/beer/version_0" in fit(run, "--resume=auto", "--trainer.max_steps=6")
    assert steps(tmp_path / "logs/beer/mine")[-1] == 4


def test_a_checkpoint_resumes_in_its_named_run_or_starts_another(run: Run, tmp_path: Path) -> None:
    fit(run, "--name=mine")
    fit(run, "--ckpt_path=logs/beer/mine", "--trainer.max_steps=6")
    fit(run, "--ckpt_path=logs/beer/mine", "--name=longer", "--trainer.max_steps=8")
    logs = tmp_path / "logs/beer"
    assert (steps(logs / "mine")[-1], steps(logs / "longer")[-1]) == (6, 8)
    assert len(list(logs.iterdir())) == 2


def test_the_checkpoint_of_another_run_does_not_resume_in_a_taken_name(run: Run, tmp_path: Path) -> None:
    for name in ("mine", "other"):
        fit(run, f"--name={name}")
    flags = ("--name=mine", "--resume=auto", "--ckpt_path=logs/beer/other", "--trainer.max_steps=6")
    code, _, err = run("fit", "-c", "config.yaml", *flags)
    assert (code, "--name=mine: logs/beer/mine already holds a run" in err) == (2, True), err
    assert steps(tmp_path / "logs/beer/mine")[-1] == 4


def test_a_named_run_resumes_through_symbolic_links(run: Run, tmp_path: Path) -> None:
    fit(run, "--name=mine")
    (tmp_path / "logs/beer/mine/checkpoints").rename(tmp_path / "elsewhere")
    (tmp_path / "logs/beer/mine/checkpoints").symlink_to(tmp_path / "elsewhere")
    fit(run, "--name=mine", "--resume=auto", "--trainer.max_steps=6")
    assert steps(tmp_path / "logs/beer/mine")[-1] == 6


def test_a_named_run_with_checkpoints_disabled_is_not_started_again(run: Run, tmp_path: Path) -> None:
    fit(run, "--name=mine", "--trainer.enable_checkpointing=false")
    before = sorted((tmp_path / "logs/beer/mine").iterdir())
    code, _, err = run("fit", "-c", "config.yaml", "--name=mine", "--resume=auto")
    assert code == 2
    assert "mine holds a run without checkpoints (trainer.enable_checkpointing=false)" in err
    assert sorted((tmp_path / "logs/beer/mine").iterdir()) == before


def test_a_named_run_without_a_checkpoint_starts_again_in_its_folder(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "logs/beer/mine"
    folder.mkdir(parents=True)
    (folder / "config.yaml").touch()
    assert "starting again" in fit(run, "--name=mine", "--resume=auto")
    assert steps(folder)[-1] == 4


@pytest.mark.parametrize("resume", ["never", "auto"])
@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "-x", "x" * 101, "x" * 300])
def test_a_name_is_one_folder(run: Run, name: str, resume: str, tmp_path: Path) -> None:
    code, _, err = run("fit", "-c", "config.yaml", f"--name={name}", f"--resume={resume}")
    assert (code, "start with a letter, a digit or '_'" in err) == (2, True), err
    assert not (tmp_path / "logs/beer").exists()


def test_a_name_has_at_most_100_characters(run: Run, tmp_path: Path) -> None:
    fit(run, f"--name={'x' * 100}")
    assert steps(tmp_path / "logs/beer" / ("x" * 100))[-1] == 4


@pytest.mark.parametrize("logger", ["false", "CSVLogger"])
def test_a_name_is_the_folder_with_any_logger(run: Run, tmp_path: Path, logger: str) -> None:
    fit(run, "--name=mine", f"--trainer.logger={logger}")
    assert steps(tmp_path / "logs/beer/mine")[-1] == 4
    assert {path.name for path in (tmp_path / "logs/beer").iterdir()} == {"mine"}
