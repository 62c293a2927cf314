"""Watch over the other ranks: which failures end a rank, and which rank prints the message."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt_lightning.commands.run import peers
from gpt_lightning.commands.run.peers import Peers
from gpt_lightning.errors import InputError, Interrupted, RunError


class Process:
    """Process of another rank that has ended with a given exit code, or runs."""

    def __init__(self, code: int | None = None) -> None:
        self.pid, self.code, self.is_killed = os.getpid(), code, False

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.is_killed = True


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "INTERVAL_S", 0.02)
    monkeypatch.setattr(peers, "GRACE_S", 0.1)


def end_by(watched: Peers, error: BaseException) -> BaseException:
    """Return the exception that leaves the block of ``watched`` after ``error`` was raised in it."""
    with pytest.raises(BaseException) as caught, watched.watched("fit"):  # noqa: PT011
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (-9, r"has died of signal 9 \(Killed\), which the system sends if memory runs out"),
        (-11, "signal 11"),
        (0, "has ended before"),
    ],
)
def test_dead_rank_explains_a_failed_operation(tmp_path: Path, code: int, message: str) -> None:
    error = end_by(Peers(tmp_path, 0, {1: Process(), 2: Process(code)}), RuntimeError("Connection closed by peer"))
    assert isinstance(error, RunError)
    with pytest.raises(RunError, match=rf"rank 2 \(process {os.getpid()}\) .*{message}"):
        raise error


def test_exit_code_of_a_rank_that_has_printed_its_error_is_taken_over(tmp_path: Path) -> None:
    error = end_by(Peers(tmp_path, 0, {1: Process(2)}), RuntimeError("Connection closed by peer"))
    assert isinstance(error, SystemExit)
    assert error.code == 2


def test_only_the_first_rank_reports_an_error(tmp_path: Path) -> None:
    errors = [end_by(Peers(tmp_path, rank, {}), InputError("rows.csv:17: no label")) for rank in (1, 0, 2)]
    assert [type(error) for error in errors] == [InputError, SystemExit, SystemExit]


def test_own_errors_are_kept(tmp_path: Path) -> None:
    bug = RuntimeError("a bug")
    assert end_by(Peers(tmp_path, 0, {1: Process()}), bug) is bug
    assert bug.__cause__ is None


def test_timeout_names_the_rank_that_does_not_wait(tmp_path: Path) -> None:
    for rank in range(3):
        (tmp_path / f"rank_{rank}").touch()
    (tmp_path / "waited_1").touch()
    error = end_by(Peers(tmp_path, 0, {1: Process(), 2: Process()}), RuntimeError("Timed out waiting 1800000ms"))
    assert isinstance(error, RunError)
    assert "rank 0 has waited too long for rank 2, which hangs or is much slower" in str(error)


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of the exit codes of the process, which the watching thread would end."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


def wait_for(condition: Callable[[], object]) -> bool:
    end = time.monotonic() + 5.0
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


@pytest.mark.parametrize("rank", [0, 1])
def test_blocked_rank_ends_with_a_message(
    tmp_path: Path, exits: list[int], capfd: pytest.CaptureFixture[str], rank: int
) -> None:
    other = Process(-6)
    with Peers(tmp_path, rank, {1 - rank: other}).watched("test"):
        assert wait_for(lambda: exits)
    assert (exits, other.is_killed) == ([1], True)
    message = f"gpt-lightning test: rank {1 - rank} (process {os.getpid()}) has died"
    assert capfd.readouterr().err.startswith(message)


def test_stopped_rank_is_killed(tmp_path: Path, exits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "is_stopped", lambda _: True)
    other = Process()
    watched = Peers(tmp_path, 0, {1: other}, stopped_limit_s=0.04)
    with pytest.raises(RunError, match=r"rank 1 .* has been stopped"), watched.watched("fit"):  # noqa: PT012
        assert wait_for(lambda: other.is_killed)
        raise RuntimeError("Connection closed by peer")
    assert not exits


@pytest.mark.parametrize("interruption", [None, Interrupted(15, between_steps=True)])
def test_rank_that_has_finished_may_end(tmp_path: Path, exits: list[int], interruption: BaseException | None) -> None:
    try:
        with Peers(tmp_path, 1, {}).watched("fit"):
            if interruption is not None:
                raise interruption
    except Interrupted:
        pass
    with Peers(tmp_path, 0, {1: Process(0)}).watched("fit"):
        time.sleep(0.3)
    assert not exits
    assert wait_for(lambda: not any(thread.name == "peers" for thread in threading.enumerate()))
