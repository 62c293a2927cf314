"""The list of checkpoints when it is damaged: it is rebuilt, and the best checkpoint survives."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt_lightning.checkpoints.manifest import Manifest
from gpt_lightning.checkpoints.run_folder import newest_intact_checkpoint
from gpt_lightning.errors import InputError, RunError
from gpt_lightning.tasks.load import find_checkpoint, load_task
from gpt_lightning.training import Checkpoints, Summary
from tests.reliability.conftest import tally
from tests.reliability.test_damage import flip
from tests.runs import causal_lm, language_modeling, trainer
from tests.training.test_callbacks import Scores

pytestmark = pytest.mark.reliability


def train(folder: Path, *scores: float, **arguments: object) -> None:
    """Train with a validation after each step; the scores are those of the validations, and less is better."""
    callbacks = [Checkpoints(monitor="score"), Scores(*scores), Summary()]
    each_step = {"val_check_interval": 1, "check_val_every_n_epoch": None}
    run = trainer(folder, callbacks=callbacks, max_steps=arguments.pop("max_steps", 4), **each_step)
    run.fit(causal_lm(), datamodule=language_modeling(folder), weights_only=True, **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose best checkpoint is that of step 2, and the last that of step 4."""
    folder = tmp_path_factory.mktemp("finished")
    train(folder, 0.5, 0.2, 0.9, 0.3)
    return folder


@pytest.fixture
def manifest(finished: Path, tmp_path: Path) -> Path:
    """Return the manifest of a copy of the run ``finished`` in ``tmp_path``."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path / "checkpoints/manifest.json"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def replace_by(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "digit": lambda path: change(path, '"step": 2', '"step": 3'),
    "best": lambda path: change(path, '"best": "step_2.ckpt"', '"best": null'),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:300]),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe"),
    "null": lambda path: path.write_text("null"),
    "number": lambda path: path.write_text("5"),
    "list": lambda path: path.write_text("[]"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "large": lambda path: path.write_bytes(b" " * (1 << 24) + b"{}"),
    "long number": lambda path: path.write_text('{"best": ' + "9" * 5000 + "}"),
    "file is a number": lambda path: change(path, '"step_2.ckpt"', "5"),
    "best is a list": lambda path: change(path, '"best": "step_2.ckpt"', '"best": []'),
    "size is a text": lambda path: change(path, '"size": ', '"size": "1", "s": '),
    "entries are numbers": lambda path: path.write_text(json.dumps({"checkpoints": [1, 2], "best": None})),
    "folder": lambda path: replace_by(path, Path.mkdir),
    "pipe": lambda path: replace_by(path, os.mkfifo),
    "device": lambda path: replace_by(path, lambda link: link.symlink_to("/dev/zero")),
    "broken link": lambda path: replace_by(path, lambda link: link.symlink_to("nowhere")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest_is_rebuilt(
    manifest: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    DAMAGES[damage](manifest)
    best, newest = find_checkpoint(str(tmp_path)), newest_intact_checkpoint(tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{manifest}:")
    assert line.endswith("The list of checkpoints is rebuilt from the files")
    assert newest is not None
    tally("R6", (best.name, newest.name) == ("step_2.ckpt", "step_4.ckpt"))


@pytest.mark.parametrize("damage", ["missing", "empty", "digit", "device"])
def test_resuming_with_a_damaged_manifest_keeps_the_best_checkpoint(
    manifest: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    DAMAGES[damage](manifest)
    train(tmp_path, 0.8, 0.7, ckpt_path=newest_intact_checkpoint(tmp_path), max_steps=6)
    best = manifest.with_name("step_2.ckpt")
    assert f"best: {best} (score 0.2000 at step 2)" in capsys.readouterr().out
    listed = Manifest.read(manifest.parent)
    assert [entry.step for entry in listed.checkpoints] == [2, 5, 6]
    load_task(best)
    tally("R6", find_checkpoint(str(tmp_path)) == best)


def test_a_folder_in_place_of_the_manifest_is_refused_before_training(manifest: Path, tmp_path: Path) -> None:
    replace_by(manifest, Path.mkdir)
    with pytest.raises(RunError, match=r"manifest\.json: Is a directory \(EISDIR\)\. Earlier .* Check the path"):
        train(tmp_path, ckpt_path=newest_intact_checkpoint(tmp_path), max_steps=6)


def test_unlisted_files_are_neither_overwritten_nor_deleted(manifest: Path, tmp_path: Path) -> None:
    foreign = [manifest.with_name(name) for name in ("step_1.ckpt", "step_5.ckpt", "step_900.ckpt", "step_x.ckpt")]
    for path in foreign:
        path.write_bytes(b"of the user")
    train(tmp_path, 0.8, 0.1, ckpt_path=find_checkpoint(str(tmp_path), "last"), max_steps=6)
    assert [entry.file for entry in Manifest.read(manifest.parent).checkpoints] == ["step_5-1.ckpt", "step_6.ckpt"]
    tally("R6", all(path.read_bytes() == b"of the user" for path in foreign))


def test_files_of_a_killed_process_are_deleted(manifest: Path, tmp_path: Path) -> None:
    """A process may be killed between writing a checkpoint and listing it, or between listing one and deleting."""
    listed = Manifest.read(manifest.parent)
    for name in ("step_5.ckpt", "step_1.ckpt"):
        manifest.with_name(name).write_bytes(b"left behind")
    Manifest(listed.checkpoints, listed.best, ("step_5.ckpt", "step_1.ckpt")).write(manifest.parent)
    train(tmp_path, 0.8, 0.7, ckpt_path=find_checkpoint(str(tmp_path), "last"), max_steps=6)
    names = {path.name for path in manifest.parent.glob("step_*")}
    tally("R6", names == {"step_2.ckpt", "step_5.ckpt", "step_6.ckpt"})


@pytest.mark.parametrize("is_damaged", [True, False])
def test_a_damaged_best_checkpoint_is_not_used(
    manifest: Path, tmp_path: Path, is_damaged: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    best = manifest.with_name("step_2.ckpt")
    if is_damaged:
        flip(best)
    else:
        best.unlink()
    capsys.readouterr()
    last = find_checkpoint(str(tmp_path))
    err = capsys.readouterr().err
    assert last.name == "step_4.ckpt"
    assert err.startswith(f"the best checkpoint cannot be used: {best}: ")
    assert err.endswith(f". Using {last}\n")
    train(tmp_path, 0.8, 0.7, ckpt_path=last, max_steps=6)
    out, err = capsys.readouterr()
    assert "best: " not in out
    tally("R6", f"the best checkpoint cannot be used: {best}: " in err)


def test_a_missing_best_checkpoint_is_reported_by_a_rebuilt_manifest(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.unlink()
    manifest.with_name("step_2.ckpt").unlink()
    assert find_checkpoint(str(tmp_path)).name == "step_4.ckpt"
    err = capsys.readouterr().err
    assert f"{manifest.parent}: the best checkpoint, of step 2, is missing or damaged" in err
    tally("R6", f"no checkpoint is marked as the best. Using {manifest.with_name('step_4.ckpt')}" in err)


def test_a_run_without_an_intact_checkpoint_is_refused(manifest: Path, tmp_path: Path) -> None:
    for path in manifest.parent.glob("step_*"):
        flip(path)
    with pytest.raises(InputError, match="every checkpoint is damaged or missing"):
        find_checkpoint(str(tmp_path))
    manifest.unlink()
    with pytest.raises(InputError, match="not a run with checkpoints"):
        find_checkpoint(str(tmp_path))
    tally("R6", True)
