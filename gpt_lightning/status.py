"""Status lines on standard error for work that takes a while."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from gpt_lightning.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress

SECONDS: Final = 2.0
"""Work that ends sooner needs no line."""

_REFRESH_S: Final = 0.5

_is_shown: ContextVar[bool] = ContextVar("_is_shown", default=False)


@contextmanager
def show_status(is_shown: bool = True) -> Iterator[None]:
    """Show status lines while the block runs. Commands do; imported as a library, the package prints none."""
    token = _is_shown.set(is_shown)
    try:
        yield
    finally:
        _is_shown.reset(token)


@contextmanager
def status(text: str, seconds: float = SECONDS) -> Iterator[None]:
    """Print ``text ...`` if the block takes longer than ``seconds``, on the first rank only."""
    if not _is_shown.get() or os.environ.get("LOCAL_RANK", "0") != "0":
        yield
        return
    timer = threading.Timer(seconds, _print, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def progress(text: str, total: float | None, seconds: float = SECONDS) -> Iterator[Callable[[float], None]]:
    """Show the status line and, on a terminal, a bar with the time left if the block takes longer than ``seconds``.

    Args:
        text: the work, such as ``Reading the train data``.
        total: the whole amount of work; None shows no bar.
        seconds: time after which both appear.

    Yields:
        Function that adds to the amount of work that is done.
    """
    is_shown = _is_shown.get() and os.environ.get("LOCAL_RANK", "0") == "0" and sys.stderr.isatty()
    bar = _Bar(text, total, seconds) if is_shown and total else None
    try:
        with status(text, seconds):
            yield _ignore if bar is None else bar.add
    finally:
        if bar is not None:
            bar.stop()


class _Bar:
    """Bar on standard error that appears late and is drawn at most twice a second, without a thread."""

    def __init__(self, text: str, total: float, seconds: float) -> None:
        self._text, self._total, self._done = text, total, 0.0
        self._next = time.monotonic() + seconds
        self._progress: Progress | None = None

    def add(self, amount: float) -> None:
        """Add to the work that is done."""
        self._done += amount
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _REFRESH_S
        if self._progress is None:
            self._progress = self._start()
        self._progress.update(self._progress.task_ids[0], completed=min(self._done, self._total), refresh=True)

    def stop(self) -> None:
        """Remove the bar."""
        if self._progress is not None:
            self._progress.stop()

    def _start(self) -> "Progress":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        found = Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
        found.add_task(self._text, total=self._total)
        found.start()
        return found


def _ignore(amount: float) -> None:
    """Do nothing."""


def _print(text: str) -> None:
    print(printable(f"{text} ..."), file=sys.stderr, flush=True)
