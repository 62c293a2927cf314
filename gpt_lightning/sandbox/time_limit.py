"""Time limit for code of this process that can be interrupted, such as a search with a regular expression."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class LimitError(Exception):
    """A block took longer than its time limit."""


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Interrupt the block after ``seconds``.

    Python delivers signals to the main thread only, and Windows has no timer, so elsewhere there is no limit.

    Args:
        seconds: limit of the elapsed time.
        what: plural noun phrase for the block, for the error.

    Raises:
        LimitError: the block takes longer.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def interrupt(_signum: int, _frame: FrameType | None) -> NoReturn:
        raise LimitError(f"{what} take longer than {seconds:.0f} seconds")

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
