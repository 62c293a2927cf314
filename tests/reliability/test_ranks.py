"""Runs on two devices of one machine: dead, stopped, hanging and failing ranks."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest

from gpt_lightning.errors import InputError
from tests.reliability.conftest import SOAK, tally
from tests.reliability.processes import Run, children, finish, steps
from tests.reliability.test_kill import prepare
from tests.runs import write_text

pytestmark = pytest.mark.reliability

TWO = ("--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=2")
SLOW = "--trainer.callbacks+=tests.reliability.processes.SlowSteps"
IMPATIENT = ("--trainer.strategy=DDPStrategy", "--trainer.strategy.timeout=0:00:03")


class Trouble(L.Callback):
    """Callback that raises an error or hangs after step 3, on one rank.

    Args:
        kind: ``bad row``, ``bug`` or ``hang``.
        rank: the rank.
    """

    def __init__(self, kind: str, rank: int) -> None:
        self.kind, self.rank = kind, rank

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.global_step > 3 and trainer.global_rank == self.rank:
            if self.kind == "bad row":
                raise InputError("rows.csv:17: the label is empty. Fill it in")
            if self.kind == "bug":
                raise RuntimeError("a bug")
            time.sleep(3600.0)


class Started(L.Callback):
    """Callback that creates a file when a test has started."""

    def on_test_batch_start(self, *args: Any, **kwargs: Any) -> None:
        Path("started").touch()


def start(folder: Path, *arguments: str) -> tuple[Run, list[int]]:
    """Start a run on two devices, and return it with the process ids of its ranks after the first checkpoint."""
    run = Run(folder, *TWO, *arguments)
    assert run.wait_for_step(3), run.err.read_text()
    pid = run.process.pid or 0
    return run, [pid, *children(pid)]


def check_message(run: Run, *parts: str) -> None:
    """Check that the run has printed one message, and nothing else."""
    messages = [line for line in run.err.read_text().splitlines() if not line.endswith(" ...")]
    assert len(messages) == 1, messages
    assert all(part in messages[0] for part in parts), messages


def end(run: Run, pids: list[int]) -> int:
    """Wait for the end of the run, check that none of its processes is left, and return the exit code."""
    code = run.end(60.0)
    limit = time.monotonic() + 10.0
    while alive := [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists()]:
        assert time.monotonic() < limit, alive
        time.sleep(0.05)
    return code


ONLY_IN_SOAK = pytest.mark.skipif(not SOAK, reason="takes seconds; runs in make soak")
ON_EACH_RANK = pytest.mark.parametrize("rank", [pytest.param(0, marks=ONLY_IN_SOAK), 1])


@ON_EACH_RANK
def test_killed_rank(tmp_path: Path, rank: int) -> None:
    folder = prepare(tmp_path, "run")
    run, pids = start(folder, SLOW)
    begin = time.monotonic()
    os.kill(pids[rank], signal.SIGKILL)
    code = end(run, pids)
    assert time.monotonic() - begin < 30.0
    check_message(run, f"gpt-lightning fit: rank {rank} (process {pids[rank]}) has died", "Resume with --resume=auto")
    assert code == (-9 if rank == 0 else 1)
    finish(folder, *TWO, "--resume=auto")
    tally("R1", steps(folder / "logs/run/version_0")[-1] == 60)


@ON_EACH_RANK
def test_stopped_rank(tmp_path: Path, rank: int) -> None:
    run, pids = start(prepare(tmp_path, "run"), SLOW, *IMPATIENT)
    os.kill(pids[rank], signal.SIGSTOP)
    code = end(run, pids)
    check_message(run, f"rank {rank} (process {pids[rank]}) has been stopped, as by SIGSTOP")
    tally("R19", code == 1)


def trouble(kind: str, rank: int) -> str:
    """Return the option for ``Trouble``."""
    init_args = f"{{kind: {kind}, rank: {rank}}}"
    return f"--trainer.callbacks+={{class_path: tests.reliability.test_ranks.Trouble, init_args: {init_args}}}"


@ON_EACH_RANK
def test_bad_row_on_one_rank(tmp_path: Path, rank: int) -> None:
    run, pids = start(prepare(tmp_path, "run"), trouble("bad row", rank))
    code = end(run, pids)
    check_message(run, "gpt-lightning fit: rows.csv:17: the label is empty. Fill it in")
    tally("R19", code == 2)


@ONLY_IN_SOAK
@ON_EACH_RANK
def test_hanging_rank(tmp_path: Path, rank: int) -> None:
    run, pids = start(prepare(tmp_path, "run"), trouble("hang", rank), *IMPATIENT)
    code = end(run, pids)
    check_message(run, f"rank {1 - rank} has waited too long for rank {rank}, which hangs or is much slower")
    tally("R19", code == 1)


@ONLY_IN_SOAK
@ON_EACH_RANK
def test_bug_on_one_rank_is_reported_once(tmp_path: Path, rank: int) -> None:
    run, pids = start(prepare(tmp_path, "run"), trouble("bug", rank))
    code = end(run, pids)
    assert "Connection" not in run.err.read_text()
    assert run.err.read_text().count("RuntimeError: a bug") == 1
    assert code == 1


@ON_EACH_RANK
def test_sigterm_to_one_rank_ends_both_after_the_same_step(tmp_path: Path, rank: int) -> None:
    folder = prepare(tmp_path, "run")
    run, pids = start(folder, SLOW)
    begin = time.monotonic()
    os.kill(pids[rank], signal.SIGTERM)
    code = end(run, pids)
    assert "Traceback" not in run.err.read_text()
    saved = steps(folder / "logs/run/version_0")[-1]
    assert 3 <= saved < 60
    assert f"Stopped after step {saved}. Saved logs/run/version_0/checkpoints/step_{saved}.ckpt" in run.err.read_text()
    tally("R7", code == 143 and time.monotonic() - begin < 20.0)


def test_second_ctrl_c_ends_both_ranks_without_a_traceback(tmp_path: Path) -> None:
    folder = prepare(tmp_path, "run")
    write_text(folder, repeats=400)
    one_long_step = ("--trainer.accumulate_grad_batches=1000000", "--trainer.max_epochs=100000")
    run = Run(folder, *TWO, SLOW, "--data.num_workers=1", *one_long_step)
    assert run.wait_for_rows(5), run.err.read_text()
    ranks = [run.process.pid or 0, *rank_processes(run)]
    everyone = {*ranks, *(worker for pid in ranks for worker in children(pid))}
    assert len(everyone) >= 4
    for _ in range(2):
        for pid in everyone:
            os.kill(pid, signal.SIGINT)
        time.sleep(0.3)
    begin = time.monotonic()
    code = end(run, list(everyone))
    assert time.monotonic() - begin < 10.0
    assert "Traceback" not in run.err.read_text()
    assert run.err.read_text().count("Stopped at step 0. Nothing was saved") == 1
    tally("R7", code == 130)


def rank_processes(run: Run) -> list[int]:
    """Return the process ids of the ranks that rank 0 has started, which have workers of their own."""
    return [pid for pid in children(run.process.pid or 0) if children(pid)]


@ONLY_IN_SOAK
@pytest.mark.parametrize(("rank", "code"), [(0, 143), (1, 1)])
def test_sigterm_to_one_rank_ends_a_test(tmp_path: Path, rank: int, code: int) -> None:
    folder = prepare(tmp_path, "run")
    finish(folder, "--trainer.max_steps=3")
    write_text(folder, repeats=20000)
    started = "--trainer.callbacks+=tests.reliability.test_ranks.Started"
    run = Run(folder, *TWO, started, "--data.test=text.txt", "--ckpt_path=logs/run/version_0", command="test")
    assert run.wait_for(lambda: (folder / "started").exists()), run.err.read_text()
    pids = [run.process.pid or 0, *children(run.process.pid or 0)]
    os.kill(pids[rank], signal.SIGTERM)
    assert end(run, pids) == code
    if rank:
        check_message(run, f"rank 1 (process {pids[1]}) has ended before the others")
    assert "Traceback" not in run.err.read_text()
