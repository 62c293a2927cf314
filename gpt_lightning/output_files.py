"""Files and folders that users name for results: never over existing ones unless told, and whole or absent."""

import errno
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from gpt_lightning.atomic_files import atomic_folder, atomic_write
from gpt_lightning.errors import InputError, RunError, is_full

_LINE_ENDS: Final = {ord(end): f"\\u{ord(end):04x}" for end in "\u0085\u2028\u2029"}
"""Line ends of ``str.splitlines`` that JSON does not escape -> their escapes."""


def check_new(path: Path, overwrite: bool, remedy: str) -> None:
    """Check that an output file can be written.

    Args:
        path: the file.
        overwrite: whether it may exist.
        remedy: advice to choose another file, as a sentence without its period.

    Raises:
        InputError: it exists, or its folder does not or is read-only.
    """
    if _is_stream(path):
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder, but a file is to be written. {remedy}")
    if path.is_file() and not overwrite:
        raise InputError(f"{path} already exists. {remedy}, or add --overwrite")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: the folder {path.parent} does not exist. Create it first")
    if not os.access(path.resolve().parent, os.W_OK):
        raise InputError(f"cannot write {path}: {path.parent} is read-only. {remedy}")


@contextmanager
def output_file(path: Path, overwrite: bool, remedy: str) -> Iterator[BinaryIO]:
    """Open an output file, which appears when the block ends without an exception.

    A device or a pipe, such as ``/dev/stdout``, is written directly. A symbolic link is followed.

    Raises:
        InputError: as for ``check_new``, or the file cannot be written.
        RunError: the disk is full.
    """
    check_new(path, overwrite, remedy)
    target = path.resolve()
    try:
        # Appending keeps what the shell's >> has kept in the file behind /dev/stdout.
        with path.open("ab") if _is_stream(path) else atomic_write(target) as file:
            yield file
    except OSError as error:
        raise write_error(path, error, remedy) from error


def _is_stream(path: Path) -> bool:
    """Return whether a path is a pipe, a device, or a name of an open stream, such as ``/dev/stdout``."""
    is_open_stream = path.parent in (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))
    return path.exists() and not path.is_dir() and (is_open_stream or not path.is_file())


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``folder`` when the block ends without an exception.

    Raises:
        InputError: the folder has files, is the working directory, or cannot be written.
        RunError: the disk is full.
    """
    remedy = "Choose a new folder"
    target = folder.resolve()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"{folder} already exists. {remedy}, or delete this one")
    if target == Path.cwd():
        raise InputError(f"{folder} is the working directory, which cannot be replaced. {remedy} in it")
    try:
        with atomic_folder(target) as unfinished:
            yield unfinished
    except OSError as error:
        raise write_error(folder, error, remedy) from error


def write_error(path: Path, error: OSError, remedy: str) -> InputError | RunError:
    """Return the error for a failed write: a full disk ends the run, and everything else is an unsuitable path."""
    cause, advice = why_not_written(error)
    if is_full(error):
        return RunError(f"cannot write {path}: {cause}. {advice}, or {remedy[0].lower()}{remedy[1:]}")
    return InputError(f"cannot write {path}: {cause}. {remedy}")


def why_not_written(error: OSError) -> tuple[str, str]:
    """Return the cause of a failed write and its remedy, for messages."""
    code = error.errno or 0
    cause = f"{os.strerror(code)} ({errno.errorcode[code]})" if code in errno.errorcode else str(error)
    return cause, "Free some space" if is_full(error) else "Check the path and its permissions"


def json_line(row: Mapping[str, Any], default: Callable[[Any], Any] | None = None) -> str:
    """Return an object as a line of JSON Lines, with its line end.

    Args:
        row: the object.
        default: function that replaces a value without a JSON type.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not have.
        TypeError: a value has no JSON type, and there is no ``default``.
    """
    text = json.dumps(row, ensure_ascii=False, allow_nan=False, default=default)
    return text.translate(_LINE_ENDS) + "\n"


def json_bytes(value: Any, *, indent: int | None = 1, default: Callable[[Any], Any] | None = None) -> bytes:
    """Return a JSON file, with null for NaN and infinity, and question marks for lone surrogates, which UTF-8 lacks.

    Args:
        value: the content.
        indent: number of spaces of a level; None writes one line.
        default: function that replaces a value without a JSON type.
    """
    text = json.dumps(replace_non_finite(value), ensure_ascii=False, allow_nan=False, indent=indent, default=default)
    return text.encode(errors="replace") + b"\n"


def replace_non_finite(value: Any) -> Any:
    """Return a JSON value with null in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
