"""Iteration over a data loader with worker processes, which may be stopped and must not outlive it."""

import contextlib
import multiprocessing
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any, Final, NoReturn

from torch.utils.data import DataLoader

from gpt_lightning.child_processes import STOPPED_LIMIT_S, is_stopped, without_signals
from gpt_lightning.errors import RunError

CHECK_INTERVAL_S: Final = 10.0
"""Timeout of the data loader: seconds of waiting for a batch after which the workers are checked."""

BATCH_LIMIT_S: Final = 600.0
"""Seconds of waiting for one batch after which the run ends."""


def batches(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield the batches of a loader whose ``timeout`` is ``CHECK_INTERVAL_S``.

    Raises:
        RunError: a worker is stopped, the workers send no batch, or the process that starts them has died.
    """
    others = set(multiprocessing.active_children())
    try:
        with without_signals():
            iterator = iter(loader)
    except (EOFError, ConnectionError):  # of the connection to multiprocessing's fork server
        _fail((), "the process that starts the workers of the data loader has died")
    workers = [each for each in multiprocessing.active_children() if each not in others]
    # At the end of this process, multiprocessing would wait forever for a stopped worker.
    kill = Finalize(None, _kill, (workers,), exitpriority=0)
    try:
        while True:
            try:
                batch = _next(iterator, workers)
            except StopIteration:
                return
            yield batch
    finally:
        del iterator  # asks the workers to end, and waits for them
        kill()


def _next(iterator: Iterator[Any], workers: Sequence[BaseProcess]) -> Any:
    """Return the next batch.

    The number of timeouts is counted, not the time: both pass while the whole run is suspended, but only one timeout.
    """
    timeouts = 0
    stopped_for = dict.fromkeys((each.pid for each in workers), 0)
    while True:
        try:
            return next(iterator)
        except RuntimeError as error:
            if not str(error).startswith("DataLoader timed out"):
                raise
        timeouts += 1
        for pid in stopped_for:
            stopped_for[pid] = stopped_for[pid] + 1 if pid and is_stopped(pid) else 0
            if stopped_for[pid] * CHECK_INTERVAL_S >= STOPPED_LIMIT_S:
                _fail(workers, f"a worker process of the data loader (pid {pid}) has been stopped, as by SIGSTOP")
        if timeouts * CHECK_INTERVAL_S >= BATCH_LIMIT_S:
            pids = ", ".join(str(pid) for pid in stopped_for)
            _fail(
                workers,
                f"the worker processes of the data loader (pid {pids}) have sent no batch for {BATCH_LIMIT_S:.0f} "
                "seconds",
            )


def _fail(workers: Sequence[BaseProcess], reason: str) -> NoReturn:
    with contextlib.suppress(RuntimeError):  # torch's handler of SIGCHLD reports the death of the workers
        _kill(workers)
    raise RunError(
        f"{reason}. All saved checkpoints are intact. Resume with --resume=auto; if it happens again, set "
        "--data.num_workers=0"
    )


def _kill(workers: Sequence[BaseProcess]) -> None:
    """Kill the workers that have not ended."""
    for worker in workers:
        if worker.is_alive():
            worker.kill()
            worker.join()
