"""Atomic writes of files and folders, and checksums that detect damaged files."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

_UNFINISHED: Final = ".unfinished"

_IS_POSIX: Final = os.name == "posix"
"""Windows has no ``flock``, and cannot open a folder to sync or lock it."""


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` atomically when the block ends without an exception.

    The contents are flushed to disk first. The temporary file is in the folder of ``path``, because a rename is atomic
    only within one filesystem. A killed process leaves it behind; the next write to ``path`` deletes it.
    """
    with _unfinished(path, Path.touch) as unfinished:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    sync_folder(path.parent)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Make a temporary folder that becomes ``folder`` when the block ends without an exception.

    Its files are flushed to disk first. As with ``atomic_write``, the next write to ``folder`` deletes what a killed
    process leaves behind.

    Args:
        folder: path without symbolic links; it must not exist, or be an empty folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _unfinished(folder, Path.mkdir) as unfinished:
        yield unfinished
        for path in [*unfinished.rglob("*"), unfinished]:
            _sync(path)
        if folder.is_dir():
            folder.rmdir()  # Windows cannot replace a folder, not even an empty one
        unfinished.rename(folder)
    sync_folder(folder.parent)


@contextmanager
def _unfinished(path: Path, create: Callable[[Path], object]) -> Iterator[Path]:
    """Create the temporary twin of a file or folder, and delete it if the block ends with an exception.

    A lock shows other processes that this one lives: process ids mean nothing to the processes of another container.
    """
    for other in _unfinished_of(path):
        _delete_abandoned(other)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}{_UNFINISHED}")
    create(unfinished)
    descriptor = _lock(unfinished) if _IS_POSIX else None
    while descriptor is not None and not _is_open_as(unfinished, descriptor):
        # Another process has deleted it as abandoned before it was locked.
        os.close(descriptor)
        create(unfinished)
        descriptor = _lock(unfinished)
    try:
        yield unfinished
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, str(unfinished)):
            error.filename = str(path)  # a failed write names no file
        _delete(unfinished)
        raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _unfinished_of(path: Path) -> list[Path]:
    """Return the temporary twins of ``path``."""
    prefix = f".{path.name}."
    pid = slice(len(prefix), -len(_UNFINISHED))
    return [
        each
        for each in path.parent.iterdir()
        if each.name.startswith(prefix) and each.name.endswith(_UNFINISHED) and each.name[pid].isdecimal()
    ]


def _delete_abandoned(path: Path) -> None:
    """Delete a temporary file or folder unless the process that writes it lives."""
    if not _IS_POSIX:
        with suppress(OSError):  # Windows does not delete an open file
            _delete(path)
        return
    import fcntl

    with suppress(OSError):  # it is locked, or has just been renamed, or the filesystem has no locks
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _delete(path)
        finally:
            os.close(descriptor)


def _lock(path: Path) -> int:
    """Open and lock a file or folder, and return the descriptor; some filesystems have no locks."""
    import fcntl

    descriptor = os.open(path, os.O_RDONLY)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _is_open_as(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _delete(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush a file or a folder to disk."""
    if path.is_dir():
        sync_folder(path)
        return
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to disk, so that created and renamed files survive a power failure.

    It does nothing on Windows, where folders cannot be opened.
    """
    if not _IS_POSIX:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def delete_unfinished(folder: Path) -> None:
    """Delete the temporary files of killed processes in ``folder``. No other process may be writing there."""
    for path in folder.glob(f".*{_UNFINISHED}"):
        path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the SHA-256 hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(content: Any) -> str:
    """Return the SHA-256 hex digest of a JSON-serializable value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
