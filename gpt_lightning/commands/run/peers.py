"""Watch over the other ranks of a machine, so that all end after a failure, with one message."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from gpt_lightning.child_processes import STOPPED_LIMIT_S, is_stopped
from gpt_lightning.errors import Interrupted, RunError

INTERVAL_S: Final = 1.0
"""Seconds between two checks of the other ranks."""

GRACE_S: Final = 10.0
"""Seconds that a rank has to end after another one has failed. It may be blocked in a collective operation."""

_SIGKILL: Final = 9  # Windows has no signal.SIGKILL

_NEXT: Final = "All saved checkpoints are intact. Resume with --resume=auto"


class Process(Protocol):
    """Process of another rank. Its methods are those of ``subprocess.Popen``."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code, which is negative after a signal, or None while the process runs."""

    def kill(self) -> None:
        """End the process."""


class Parent:
    """Process of rank 0, as the other ranks see it.

    Args:
        pid: its process id.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """Return a negative number if the process has ended; its exit code is unknown."""
        return None if os.getppid() == self.pid else -_SIGKILL

    def kill(self) -> None:
        """Let a stopped process continue. It then ends by itself, because this rank has failed."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGCONT)


class Peers:
    """The other ranks of this machine. Rank 0 watches all of them, and each of them watches rank 0.

    The first rank that fails creates a file in the common folder. It alone prints a message.

    Args:
        folder: folder that the ranks share.
        rank: this rank.
        processes: rank -> process, of the ranks to watch.
        stopped_limit_s: seconds after which a stopped rank ends the run.
    """

    def __init__(
        self, folder: Path, rank: int, processes: Mapping[int, Process], stopped_limit_s: float = STOPPED_LIMIT_S
    ) -> None:
        self.folder, self.rank, self.processes = folder, rank, processes
        self._stopped_limit_s = stopped_limit_s
        self._failure = folder / "failure"
        self._is_first = False
        self._stopped: int | None = None
        self._is_over = threading.Event()

    @contextlib.contextmanager
    def watched(self, command: str) -> Iterator[None]:
        """Watch the other ranks during the block, and end this process if it hangs after one has failed.

        Args:
            command: name of the command, for the message.

        Raises:
            RunError: another rank has died or is stopped.
            SystemExit: another rank has failed, and has printed why.
        """
        threading.Thread(target=self._watch, args=(command,), name="peers", daemon=True).start()
        try:
            yield
            self._finish()
        except Interrupted as interruption:
            if interruption.between_steps:  # all ranks have agreed to stop
                self._finish()
            raise
        except Exception as error:
            self._is_over.set()
            cause = self._explain(error)
            if cause is error:
                raise
            raise cause from error
        finally:
            self._is_over.set()

    def check(self) -> None:
        """Raise the error of ``watched`` if another rank has failed."""
        if self._has_failure() and (error := self._error()) is not None:
            raise error

    def kill(self) -> None:
        """Kill the other ranks, and the workers of data loaders."""
        for process in self.processes.values():
            process.kill()
        for worker in multiprocessing.active_children():
            worker.kill()

    def _watch(self, command: str) -> None:
        stopped_for = dict.fromkeys(self.processes, 0.0)
        failed_for = 0.0
        while not self._is_over.wait(INTERVAL_S):
            for rank, process in self.processes.items():
                stopped_for[rank] = stopped_for[rank] + INTERVAL_S if is_stopped(process.pid) else 0.0
                if stopped_for[rank] >= self._stopped_limit_s and self._stopped is None:
                    self._stopped = rank
                    if self.rank == 0:
                        process.kill()  # operations of torch.distributed then fail instead of waiting
            failed_for = failed_for + INTERVAL_S if self._has_failure() else 0.0
            if failed_for >= GRACE_S or (self._stopped is not None and self.rank > 0):
                self._give_up(command)
                return

    def _give_up(self, command: str) -> None:
        """End this process, whose main thread is blocked."""
        error = self._error()
        if isinstance(error, RunError):
            print(f"gpt-lightning {command}: {error}", file=sys.stderr, flush=True)
        self.kill()
        os._exit(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)

    def _explain(self, error: Exception) -> BaseException:
        """Return the exception that ends this rank: ``error`` itself, or the failure of another rank that caused it."""
        if isinstance(error, RuntimeError) and not isinstance(error, RunError):
            # Operations of torch.distributed fail with a RuntimeError, a moment before the other process has ended.
            end = time.monotonic() + 3.0 * INTERVAL_S
            while time.monotonic() < end:
                if (cause := self._error()) is not None:
                    return cause
                time.sleep(0.05)
            if "timed out" in str(error).lower() or "timeout" in str(error).lower():
                error = self._timed_out()
        return error if self._claim() else self._silent_exit()

    def _finish(self) -> None:
        """Tell the other ranks that the end of this process is no failure."""
        with contextlib.suppress(OSError):  # the disk is full, or rank 0 has deleted the folder
            (self.folder / f"finished_{self.rank}").touch()

    def _ended(self) -> dict[int, int]:
        """Return the exit codes of ranks that have ended before they have finished."""
        codes = {rank: code for rank, process in self.processes.items() if (code := process.poll()) is not None}
        return {rank: code for rank, code in codes.items() if not (self.folder / f"finished_{rank}").exists()}

    def _has_failure(self) -> bool:
        """Return whether another rank has failed."""
        return bool(self._ended()) or self._stopped is not None or self._has_other_claim()

    def _has_other_claim(self) -> bool:
        """Return whether another rank was the first to fail."""
        return self._failure.exists() and not self._is_first

    def _error(self) -> RunError | SystemExit | None:
        """Return the exception for the failure of another rank, or None if none has failed."""
        ended = self._ended()
        if self._has_other_claim():
            return self._silent_exit()
        if self._stopped is not None:
            rank, reason = self._stopped, "has been stopped, as by SIGSTOP"
        elif not ended:
            return None
        elif max(ended.values()) > 0:
            return self._silent_exit()  # it failed before it watched others, and has printed why
        else:
            rank = min(ended, key=lambda rank: ended[rank])  # one that was killed, if there is any
            reason = _describe_end(ended[rank]) if self.rank == 0 else "has died"
        error = RunError(f"rank {rank} (process {self.processes[rank].pid}) {reason}. {_NEXT}")
        return error if self._claim() else self._silent_exit()

    def _timed_out(self) -> RunError:
        """Return the error for a wait that was too long. All ranks but the missing ones get here at the same time."""
        (self.folder / f"waited_{self.rank}").touch()
        time.sleep(2.0 * INTERVAL_S)
        ranks, waiting = (
            {int(path.name.removeprefix(prefix)) for path in self.folder.glob(f"{prefix}*")}
            for prefix in ("rank_", "waited_")
        )
        missing = ", ".join(map(str, sorted(ranks - waiting))) or "another rank"
        return RunError(
            f"rank {self.rank} has waited too long for rank {missing}, which hangs or is much slower. If that is "
            f"expected, raise the timeout of the DDPStrategy in trainer.strategy. {_NEXT}"
        )

    def _claim(self) -> bool:
        """Return whether this rank is the first to fail, and therefore prints the message."""
        if not self._is_first:
            with contextlib.suppress(OSError):  # it exists, or rank 0 has deleted the folder already
                self._failure.touch(exist_ok=False)
                self._is_first = True
        return self._is_first

    def _silent_exit(self) -> SystemExit:
        """Return the exit of a rank that prints nothing; rank 0 takes the exit code of the rank that does."""
        codes: list[int | None] = [None]
        end = time.monotonic() + GRACE_S
        while self.rank == 0 and not any(codes) and time.monotonic() < end:
            codes = [process.poll() for process in self.processes.values()]
            time.sleep(0.05)
        return SystemExit(max((code for code in codes if code is not None and code > 0), default=1))


def _describe_end(code: int) -> str:
    if code == 0:
        return "has ended before the others"
    killed = f"has died of signal {-code} ({signal.strsignal(-code)})"
    return f"{killed}, which the system sends if memory runs out" if code == -_SIGKILL else killed
