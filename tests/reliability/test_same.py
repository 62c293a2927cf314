"""Reproducibility with the same settings, and refusal to resume with different ones."""

import hashlib
import random
from pathlib import Path

import pytest

from tests.commands.run.test_cli import Run, fit, run
from tests.heads import CommandLine, write_config
from tests.reliability.conftest import many, tally
from tests.reliability.processes import finish, rows
from tests.reliability.test_kill import prepare

__all__ = ["run"]

pytestmark = pytest.mark.reliability


@pytest.mark.parametrize("workers", [0, 2])
def test_same_seed_gives_the_same_bytes(tmp_path: Path, workers: int) -> None:
    """Test R14 on the checkpoint files."""
    digests = []
    for number in range(2):
        folder = prepare(tmp_path, f"run_{number}")
        finish(folder, f"--data.num_workers={workers}", "--trainer.max_steps=30", "--data.cache_dir=../cache")
        files = sorted((folder / "logs/run/version_0/checkpoints").glob("step_*"))
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
    order = rows(tmp_path / "run_0")
    tally("R14", len(digests[0]) >= 2 and digests[0] == digests[1] and order == rows(tmp_path / "run_1"))


def test_different_seeds_give_different_bytes(tmp_path: Path) -> None:
    digests = set()
    for seed in (0, 1):
        folder = prepare(tmp_path, f"run_{seed}")
        finish(folder, f"--seed_everything={seed}", "--trainer.max_steps=6")
        digests.add((folder / "logs/run/version_0/checkpoints/step_6.ckpt").read_bytes())
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--seed_everything=1", "seed_everything was 0, now it is 1"),
        ("--data.seed=5", "data.seed was 0, now it is 5"),
        ("--data.batch_size=8", "data.batch_size was 4, now it is 8"),
        ("--trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches was 1, now it is 2"),
        ("--data.mask_documents=true", "data.train has changed"),
        ("--data.train=other.txt", "data.train has changed"),
        (
            "--data.tokenizer=bytes",
            "--data.tokenizer=bytes (257 tokens) differs from the tokenizer of logs/beer/version_0",
        ),
        ("--model.backbone.block_size=4", "model.backbone.block_size=4, but logs/beer/version_0/checkpoints/step_4"),
    ],
)
def test_run_does_not_resume_with_changed_settings(run: Run, tmp_path: Path, flag: str, message: str) -> None:
    """Test R3. ``other.txt`` differs in one character only."""
    fit(run)
    text = (tmp_path / "text.txt").read_text()
    index = random.Random(0).randrange(len(text))
    (tmp_path / "other.txt").write_text(text[:index] + ("b" if text[index] != "b" else "o") + text[index + 1 :])
    folder = tmp_path / "logs/beer/version_0"
    before = {path.name: path.read_bytes() for path in folder.glob("checkpoints/*")}
    for option in ("--ckpt_path=logs/beer/version_0", "--resume=auto")[: many(1, 2)]:
        code, _, err = run("fit", "-c", "config.yaml", "--trainer.max_steps=6", option, flag)
        assert message in err
        assert len(err.strip().splitlines()) == 1
        after = {path.name: path.read_bytes() for path in folder.glob("checkpoints/*")}
        tally("R3", code == 2 and after == before)
    if "tokenizer" not in flag and "block_size" not in flag:
        fit(run, "--trainer.max_steps=6", "--resume=auto", flag, "--checkpoints.refuse_changes=false")
        assert (folder / "checkpoints/step_6.ckpt").exists(), "refuse_changes=false must allow changes"


@pytest.mark.parametrize("name", ["topics", "tags"])
def test_head_does_not_resume_with_changed_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    cli = CommandLine(tmp_path, monkeypatch, capsys)
    folder = cli.fit(name)
    file = tmp_path / f"{name}.jsonl"
    resume = ("fit", "-c", f"{name}.yaml", f"--ckpt_path={folder}", "--trainer.max_steps=6")
    file.write_text(file.read_text().replace("goal", "gool").replace("sings", "songs"))
    assert cli(*resume) == 2
    assert "data.train has changed" in cli.err
    write_config(tmp_path, name)
    tally("R3", cli(*resume) == 0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--trainer.limit_train_batches=0"], "trainer.limit_train_batches=0 leaves no batch to fit"),
        (["--trainer.max_steps=0"], "no training step was taken (the run is at step 0)"),
        (["--trainer.max_epochs=0", "--trainer.max_steps=-1"], "no training step was taken (the run is at step 0)"),
        (["--data.train=empty.txt"], "empty.txt"),
        (["--data.train=short.txt"], "at least 9 are needed"),
    ],
)
def test_run_without_a_step_is_an_error(run: Run, tmp_path: Path, flags: list[str], message: str) -> None:
    """Test R13."""
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("beer")
    code, out, err = run("fit", "-c", "config.yaml", *flags)
    assert message in err
    tally("R13", code == 2 and "last:" not in out)


def test_finished_run_has_no_steps_left(run: Run) -> None:
    fit(run)
    code, _, err = run("fit", "-c", "config.yaml", "--ckpt_path=logs/beer/version_0")
    assert "no training step was taken (the run is at step 4)" in err
    tally("R13", code == 2)
    assert "nothing to do: the run has reached step 4 already" in fit(run, "--resume=auto")
