"""Report of the error that ends a command: a short message, an exit code, and a file for the traceback of a bug."""

import os
import platform
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Final

from gpt_lightning.errors import Interrupted, input_error, run_error
from gpt_lightning.printable import printable, short_lines

FAILED: Final = 1
INVALID: Final = 2
INTERRUPTED: Final = 130
"""Exit codes."""

_MAX_CHARACTERS: Final = 500
"""Length of an exception's text in a report."""


def report(command: str, error: BaseException) -> int:
    """Print why a command ended, and return its exit code.

    Args:
        command: the name of the command.
        error: the exception that ended it.
    """
    if isinstance(error, Interrupted):
        # Lightning kills all processes, also the first, when one of them ends with anything but 0.
        return 0 if os.environ.get("LOCAL_RANK", "0") != "0" else 128 + error.signum
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if (failure := run_error(error)) is not None:
        return _print(command, str(failure), FAILED)
    if (reason := input_error(error)) is not None:
        # The error of a worker process holds its whole traceback, with the message at the end.
        return _print(command, str(reason).split("errors.InputError: ")[-1].strip(), INVALID)
    return _print(command, _unexpected_lines(error), FAILED)


def _print(command: str, message: str, code: int) -> int:
    text = short_lines(printable(f"{f'gpt-lightning {command}'.strip()}: {message}"))
    print(text, file=sys.stderr, flush=True)
    return code


def _unexpected_lines(error: BaseException) -> str:
    """Return three lines about an error that this package does not foresee."""
    file = _save_traceback(error)
    advice = (
        f"The traceback is in {file}. If this is not an error in code of your own, please report it with this file"
        if file is not None
        else "The traceback cannot be saved, because no folder for temporary files is writable. Set TMPDIR and repeat"
    )
    return f"stopped by an error that it does not handle.\n  {first_line(error)}{_place(error)}\n  {advice}"


def first_line(error: BaseException) -> str:
    """Return the type and the first line of the text of an exception."""
    lines = [line for line in _text(error).splitlines() if line.strip()]
    text = lines[0].strip()[:_MAX_CHARACTERS] if lines else ""
    return printable(f"{type(error).__name__}: {text}") if text else type(error).__name__


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # some exceptions of other packages fail to format themselves
        return ""


def _place(error: BaseException) -> str:
    """Return the file and line of the innermost call, in parentheses."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _save_traceback(error: BaseException) -> Path | None:
    """Write the traceback to a new file in the folder for temporary files; None if that fails."""
    from gpt_lightning import __version__

    try:
        descriptor, name = tempfile.mkstemp(prefix="gpt-lightning-", suffix=".traceback.txt", text=True)
        with open(descriptor, "w", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            file.write(f"gpt-lightning {__version__}, Python {platform.python_version()}, {platform.platform()}\n")
            file.write(f"{' '.join(map(repr, sys.argv))}\n\n")
            file.writelines(traceback.format_exception(error))
    except OSError:
        return None
    return Path(name)
