"""Signals and states of child processes."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

STOPPED_LIMIT_S: Final = 60.0
"""Seconds after which a stopped process that others wait for ends the run."""


@contextmanager
def without_signals() -> Iterator[None]:
    """Keep Ctrl-C and SIGTERM from the processes that the block starts.

    A terminal and a job scheduler send these signals to all processes of a run. Only the process that trains may act
    on them. Children inherit the blocked signals, so that there is no moment without protection. In this process,
    a signal that arrives during the block is handled after it.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def accept_signals() -> None:
    """Accept Ctrl-C and SIGTERM in a process that was started in ``without_signals``."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped, as by SIGSTOP. The answer is always False on systems without ``/proc``."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    # The name of the program, in parentheses, may contain spaces and parentheses.
    return status.rpartition(")")[2].split()[0] == "T"
