"""Standard streams of a command, which keep working if their reader has gone or their disk is full."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TYPE_CHECKING = False  # True to type checkers; importing typing takes a tenth of the time of --help
if TYPE_CHECKING:
    from typing import Any, TextIO

SIGPIPE_CODE = 141
"""Exit code of a command whose reader has closed the pipe: 128 + SIGPIPE, as shells report for ``yes | head``."""


class OutputClosedError(BaseException):
    """The output of a command that only prints cannot be written.

    It derives from BaseException, because it may be raised inside code that catches every Exception.
    """


class Output:
    """Text stream that drops its text after the first write that fails, so that training never stops for its output.

    Args:
        stream: the stream to write to.
        stops: raise ``OutputClosedError`` instead, for a command that has nothing else to do.
    """

    def __init__(self, stream: "TextIO", stops: bool = False) -> None:
        self._stream = stream
        self._stops = stops
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write a text; return its length."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._fail(error)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write several texts."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        if self.failure is None:
            self.failure = error
            # Child processes and libraries in C write to the same descriptor, and Python flushes its buffer at exit.
            with open(os.devnull, "w") as null:  # noqa: PTH123
                os.dup2(null.fileno(), self._stream.fileno())
        if self._stops:
            raise OutputClosedError

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._stream, name)


@contextmanager
def standard_streams(stops: bool) -> Iterator[Output]:
    """Open closed standard streams, and make standard output and standard error tolerate failing writes.

    Args:
        stops: a failing write to standard output ends the command.

    Yields:
        The standard output.
    """
    is_closed = _open_closed_descriptors()
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # some terminals cannot show all of Unicode
    output = Output(before[0], stops)
    if is_closed:
        output.failure = OSError(errno.EBADF, os.strerror(errno.EBADF))
    sys.stdout, sys.stderr = output, Output(before[1])
    try:
        yield output
    finally:
        sys.stdout, sys.stderr = before


def _open_closed_descriptors() -> bool:
    """Open the null device in place of closed standard streams; return whether standard output was closed.

    The next file that is opened would take a free descriptor, and libraries in C would print into that file.
    """
    was_closed = sys.stdout is None
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            setattr(sys, name, open(descriptor, "r" if descriptor == 0 else "w", closefd=False))  # noqa: SIM115
    return was_closed
