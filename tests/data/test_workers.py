"""Worker processes of the data loader: stopped, silent, and signaled workers."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gpt_lightning.child_processes import is_stopped
from gpt_lightning.data import workers
from gpt_lightning.data.loader import ResumableLoader
from gpt_lightning.errors import RunError

STOPPED, SILENT = 40, 50
"""Rows at which a worker stops itself, and at which it sleeps."""


LEFT: list[Iterator[Any]] = []
"""Iterators that stay open until the process ends."""


class Rows:
    """Rows that are their numbers, some of which stop or delay the worker that reads them."""

    digest = "rows"

    def __len__(self) -> int:
        return 100

    def batch(self, epoch: int, indices: NDArray[np.int64], num_padding: int) -> int:
        row = int(indices[0])
        if row == STOPPED:
            os.kill(os.getpid(), signal.SIGSTOP)
        if row == SILENT:
            time.sleep(60.0)
        return row


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CHECK_INTERVAL_S", 0.1)
    monkeypatch.setattr(workers, "STOPPED_LIMIT_S", 0.2)
    monkeypatch.setattr(workers, "BATCH_LIMIT_S", 0.4)


def start(first: int = 0) -> tuple[Iterator[Any], list[int]]:
    """Return an iterator over batches of one row, and the pids of its worker."""
    iterator = iter(ResumableLoader(Rows(), batch_size=1, num_workers=1, position=lambda: (0, first)))
    next(iterator)
    return iterator, [each.pid or 0 for each in multiprocessing.active_children()]


@pytest.mark.usefixtures("short_limits")
@pytest.mark.parametrize(("row", "reason"), [(STOPPED, "has been stopped"), (SILENT, "have sent no batch for 0 sec")])
def test_worker_that_sends_nothing_ends_the_run(row: int, reason: str) -> None:
    iterator, (pid,) = start(row - 2)  # a worker reads two batches ahead
    with pytest.raises(RunError, match=rf"\(pid {pid}\) {reason}.* Resume with --resume=auto"):
        list(iterator)
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("short_limits")
def test_worker_may_be_stopped_for_a_while() -> None:
    iterator, (pid,) = start()
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(0.15, os.kill, (pid, signal.SIGCONT)).start()
    assert [next(iterator) for _ in range(4)] == [1, 2, 3, 4]


def test_stopped_worker_does_not_outlive_the_iterator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
    iterator, (pid,) = start()
    os.kill(pid, signal.SIGSTOP)
    while not is_stopped(pid):
        time.sleep(0.01)
    del iterator
    assert not multiprocessing.active_children()


def test_stopped_worker_does_not_keep_the_process_from_ending() -> None:
    process = multiprocessing.get_context("fork").Process(target=leave_stopped_worker)
    process.start()
    process.join(30.0)
    assert process.exitcode == 0


def leave_stopped_worker() -> None:
    """End with a stopped worker and an open iterator."""
    iterator, (pid,) = start()
    os.kill(pid, signal.SIGSTOP)
    LEFT.append(iterator)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_workers_ignore_signals_to_the_whole_run(signum: int) -> None:
    iterator, (pid,) = start(10)
    os.kill(pid, signum)
    assert [next(iterator) for _ in range(20)] == list(range(11, 31))
