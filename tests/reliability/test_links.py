"""Runs that are moved, linked or partly deleted by hand: each resumes in its own folder, or says why it does not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.run.test_cli import Run, fit, run
from tests.reliability.conftest import tally
from tests.reliability.processes import steps

__all__ = ["run"]

pytestmark = pytest.mark.reliability

FIRST = Path("logs/beer/version_0")


def link_checkpoints() -> None:
    """Move the checkpoints to another disk, and link to them."""
    (FIRST / "checkpoints").rename("elsewhere")
    (FIRST / "checkpoints").symlink_to(Path("elsewhere").absolute())


def link_run() -> None:
    """Move the run, and link to it."""
    FIRST.rename("moved")
    FIRST.symlink_to(Path("moved").absolute())


def link_checkpoint() -> None:
    """Move one checkpoint, and link to it."""
    file = FIRST / "checkpoints/step_4.ckpt"
    file.rename("step_4.ckpt")
    file.symlink_to(Path("step_4.ckpt").absolute())


def link_experiment() -> None:
    """Move the experiment, and link to it."""
    FIRST.parent.rename("moved")
    FIRST.parent.symlink_to(Path("moved").absolute())


def delete_config() -> None:
    """Delete the configuration."""
    (FIRST / "config.yaml").unlink()


def delete_manifest() -> None:
    """Delete the list of checkpoints."""
    (FIRST / "checkpoints/manifest.json").unlink()


@pytest.mark.parametrize(
    "change", [link_checkpoints, link_run, link_checkpoint, link_experiment, delete_config, delete_manifest]
)
@pytest.mark.parametrize("option", ["--resume=auto", f"--ckpt_path={FIRST}", "file"])
def test_run_resumes_in_its_folder(run: Run, change: Callable[[], None], option: str) -> None:
    """Test R18 with the run, its checkpoints or one of them behind a symbolic link."""
    if change is delete_manifest and option != "--resume=auto":
        pytest.skip("the folder of a run without a manifest names no checkpoint")
    fit(run)
    change()
    if option == "file":
        option = f"--ckpt_path={(FIRST / 'checkpoints').resolve() / 'step_4.ckpt'}"
    out = fit(run, option, "--trainer.max_steps=6")
    tally("R18", steps(FIRST)[-1] == 6 and {path.name for path in FIRST.parent.iterdir()} == {"version_0"})
    assert f"in {FIRST}" in out


def test_columns_and_metrics_follow_the_link(run: Run) -> None:
    fit(run)
    link_checkpoints()
    assert run("test", "-c", "config.yaml", f"--ckpt_path={FIRST}")[0] == 0
    assert (FIRST / "metrics.json").exists()


@pytest.mark.parametrize("part", ["checkpoints", ""])
def test_broken_link_is_refused(run: Run, part: str) -> None:
    """A disk that is not mounted must not make a run start again from step 0."""
    fit(run)
    (FIRST / part).rename("elsewhere")
    (FIRST / part).symlink_to("/not/mounted")
    for flags in (["--resume=auto"], ["--resume=auto", "--name=version_0"]):
        code, _, err = run("fit", "-c", "config.yaml", *flags)
        assert "this symbolic link leads to /not/mounted, which does not exist" in err
        tally("R18", code == 2 and len(list(FIRST.parent.iterdir())) == 1)


@pytest.mark.parametrize("name", [None, "mine"])
def test_run_without_its_checkpoints_says_that_it_starts_again(run: Run, name: str | None) -> None:
    flags = ["--resume=auto", *([f"--name={name}"] if name else [])]
    fit(run, *flags)
    folder = FIRST.with_name(name or "version_0") / "checkpoints"
    for file in folder.glob("step_*"):
        file.unlink()
    code, _, err = run("fit", "-c", "config.yaml", *flags)
    assert (code, "every checkpoint is damaged or missing. Leave out --resume to start a new run" in err) == (2, True)
    (folder / "manifest.json").unlink()
    folder.rmdir()
    out = fit(run, *flags)
    where = "its folder" if name else "a new folder"
    assert f"(it ended before the first, or they were deleted): starting again in {where}" in out


def test_checkpoint_that_is_not_listed_can_be_resumed(run: Run) -> None:
    """The callback deletes unlisted checkpoints, but not before the one to resume from is read."""
    fit(run)
    (FIRST / "checkpoints/step_2.ckpt").rename(FIRST / "checkpoints/step_1.ckpt")
    fit(run, f"--ckpt_path={FIRST}/checkpoints/step_1.ckpt", "--trainer.max_steps=6")
    assert steps(FIRST)[-1] == 6
