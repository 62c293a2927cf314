"""Text of unknown origin as it may be printed on a terminal, which would obey control characters."""

import re
import sys
from typing import Final, TextIO

_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters except tabs and line feeds, and characters that change the direction of the text around them."""
_MAX_LINE: Final = 1000


def printable(text: str) -> str:
    r"""Return ``text`` with control characters escaped, such as ``\x1b`` for the start of a terminal sequence.

    Tabs, line ends and all visible characters stay.
    """
    return _CONTROLS.sub(_escape, text.replace("\r\n", "\n"))


def short_lines(text: str) -> str:
    """Return a message without the middle of very long lines, which quote a value of thousands of characters."""
    half = _MAX_LINE // 2
    return "\n".join(
        line if len(line) <= _MAX_LINE else f"{line[:half]} ... {line[-half:]}" for line in text.splitlines()
    )


def for_stream(text: str, stream: TextIO | None = None) -> str:
    """Return ``text`` as it is for a file or a pipe, and ``printable(text)`` for a terminal.

    Args:
        text: text to print.
        stream: stream that it is printed to; None is standard output.
    """
    return printable(text) if (stream or sys.stdout).isatty() else text


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
