"""Status lines on standard error for work that takes a while."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from gpt_lightning.printable import printable

SECONDS: Final = 2.0
"""Work that ends sooner needs no line."""

_is_shown: ContextVar[bool] = ContextVar("_is_shown", default=False)


@contextmanager
def shown(is_shown: bool = True) -> Iterator[None]:
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


def _print(text: str) -> None:
    print(printable(f"{text} ..."), file=sys.stderr, flush=True)
