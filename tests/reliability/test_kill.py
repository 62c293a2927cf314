"""Runs that are killed, as by ``kill -9`` or by the kernel when memory is exhausted."""

import random
import time
from pathlib import Path

import pytest

from gpt_lightning.evaluation.run_report import history
from gpt_lightning.tasks.load import find_checkpoint, load_task
from tests.reliability.conftest import many, tally
from tests.reliability.processes import CONFIG, Run, finish, rows, state, steps
from tests.runs import write_text

pytestmark = pytest.mark.reliability


def prepare(folder: Path, name: str, config: str = CONFIG) -> Path:
    """Create a folder with a text and a configuration."""
    target = folder / name
    target.mkdir()
    write_text(target, repeats=20)
    (target / "config.yaml").write_text(config)
    return target


def check_history(found: history.History, whole: history.History) -> None:
    """Check that a killed and resumed run has the curves of an uninterrupted one.

    A kill between a checkpoint and the metrics of the same step loses these metrics.
    """
    tags = {tag for tag in whole.scalars if not tag.startswith("workload/")}
    assert tags <= found.scalars.keys()
    for tag in tags:
        assert set(found.scalars[tag]) <= set(whole.scalars[tag])
        assert len(set(found.scalars[tag])) == len(found.scalars[tag]) >= len(whole.scalars[tag]) - 1


def test_run_killed_at_any_moment_resumes_exactly(tmp_path: Path) -> None:
    """Test R1 with dropout, shuffling and several epochs. The first kill comes before the first checkpoint."""
    uninterrupted = prepare(tmp_path, "uninterrupted")
    finish(uninterrupted)
    expected, order = state(uninterrupted / "logs/run/version_0"), rows(uninterrupted)
    whole = history.read(uninterrupted / "logs/run/version_0")
    assert len({epoch for epoch, _ in order}) > 1
    rng = random.Random(0)
    moments = [1, *(rng.randrange(3, 60) for _ in range(many(2, 19)))]
    for number, moment in enumerate(moments):
        folder = prepare(tmp_path, f"killed_{number}")
        run = Run(folder)
        assert run.wait_for_rows(moment), run.err.read_text()
        time.sleep(rng.random() * 0.02)
        run.kill()
        listed = steps(folder / "logs/run/version_0")
        assert bool(listed) == (moment > 1) or run.process.exitcode == 0
        finish(folder, "--resume=auto")
        output = (folder / "out.txt").read_text()
        assert "resumed from" in output if listed else "has no checkpoint (it ended before the first," in output
        last = max((folder / "logs/run").glob("version_*"))
        assert last.name == ("version_0" if listed else "version_1")
        tally("R1", state(last) == expected and rows(folder) == order)
        check_history(history.read(last), whole)


BIG = (
    CONFIG.replace("n_layer: 1", "n_layer: 2")
    .replace("n_embd: 16", "n_embd: 448")
    .replace("dropout: 0.1", "dropout: 0.0")
)


def test_run_killed_while_saving_keeps_its_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Test R4 with a checkpoint of 60 MB after each step, and temporary files on another filesystem."""
    shared_memory = Path("/dev/shm")
    if shared_memory.is_dir():
        monkeypatch.setenv("TMPDIR", str(shared_memory))
    folder = prepare(tmp_path, "saving", BIG.replace("every_n_steps: 3", "every_n_steps: 1"))
    checkpoints = folder / "logs/run/version_0/checkpoints"
    rng = random.Random(1)
    arguments = ["--trainer.max_steps=100000", "--trainer.limit_val_batches=0"]
    last_step, num_unfinished = 0, 0
    for _ in range(many(3, 30)):
        run = Run(folder, *arguments, "--resume=auto")
        target = last_step + rng.randrange(1, 4)
        assert run.wait_for_step(target), run.err.read_text()
        assert run.wait_for_saving(), run.err.read_text()
        time.sleep(rng.random() * 0.15)
        run.kill()
        num_unfinished += bool(list(checkpoints.glob(".step_*.unfinished")))
        listed = steps(checkpoints.parent)
        newest = find_checkpoint(str(checkpoints.parent), "last")
        assert newest.stat().st_size > 50e6
        load_task(newest)
        tally("R4", listed == sorted(listed) and listed[-1] >= target and newest.name == f"step_{listed[-1]}.ckpt")
        last_step = listed[-1]
    assert num_unfinished > 0, "no kill interrupted a write"
    finish(folder, f"--trainer.max_steps={last_step + 1}", "--trainer.limit_val_batches=0", "--resume=auto")
    assert not list(checkpoints.glob(".*")), "unfinished files must be deleted"
    assert len(list(checkpoints.glob("step_*"))) == len(steps(checkpoints.parent)) == 2
