"""Atomic file writes, and checksums that detect damaged files."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

_UNFINISHED: Final = ".unfinished"

_CAN_SYNC_FOLDERS: Final = os.name == "posix"
"""Windows cannot open a folder to sync it."""


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` atomically when the block ends without an exception.

    The contents are flushed to disk first. The temporary file is in the folder of ``path``, because a rename is atomic
    only within one filesystem. A killed process leaves it behind; ``delete_unfinished`` deletes it.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}{_UNFINISHED}")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to disk, so that created and renamed files survive a power failure.

    It does nothing on Windows, where folders cannot be opened.
    """
    if not _CAN_SYNC_FOLDERS:
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
