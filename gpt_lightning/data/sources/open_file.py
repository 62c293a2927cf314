"""Opening of plain or compressed files as streams of bytes."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Final, cast

from gpt_lightning.errors import InputError

BLOCK_BYTES: Final = 1 << 20

Report = Callable[[int], object]
"""Function that takes the number of bytes that were read since it was called last."""

_report: ContextVar[Report | None] = ContextVar("_report", default=None)


@contextmanager
def reported_reading(report: Report) -> Iterator[None]:
    """Report the bytes of rows and texts that are read while the block runs, compressed ones as they are on disk."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def _zstd(stream: IO[bytes]) -> IO[bytes]:
    import pyarrow

    return BufferedReader(pyarrow.CompressedInputStream(stream, "zstd"), BLOCK_BYTES)


COMPRESSIONS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    ".gz": ("gzip", lambda stream: gzip.GzipFile(fileobj=stream)),
    ".bz2": ("bzip2", bz2.BZ2File),
    ".xz": ("xz", lzma.LZMAFile),
    ".zst": ("zstd", _zstd),
}
"""Suffix -> name of the compression, and function that decompresses a stream."""


def compression(path: Path) -> str | None:
    """Return the suffix of a file's compression, or None if it is not compressed."""
    suffix = path.suffix.lower()
    return suffix if suffix in COMPRESSIONS else None


def without_compression(path: Path) -> Path:
    """Return a path without the suffix of its compression."""
    return path if compression(path) is None else path.with_suffix("")


class _ReportedFile(io.FileIO):
    """File that reports how many bytes are read."""

    def __init__(self, path: Path, report: Report) -> None:
        super().__init__(path)
        self._report = report

    def readinto(self, buffer: Any, /) -> int | None:
        """Read into a buffer."""
        size = super().readinto(buffer)
        self._report(size or 0)
        return size

    def readall(self) -> bytes:
        """Return the rest of the file."""
        content = super().readall()
        self._report(len(content))
        return content


def _open(path: Path, is_reported: bool) -> IO[bytes]:
    report = _report.get()
    if report is None or not is_reported:
        return path.open("rb")
    return BufferedReader(_ReportedFile(path, report), BLOCK_BYTES)


@contextmanager
def open_file(path: Path, is_reported: bool = False) -> Iterator[IO[bytes]]:
    """Open a plain or compressed file, and convert errors while it is read to an InputError.

    Args:
        path: the file.
        is_reported: whether ``reported_reading`` counts its bytes, because its rows or its text are read.
    """
    suffix = compression(path)
    name, decompress = ("", None) if suffix is None else COMPRESSIONS[suffix]
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty (0 bytes); remove it from the source, or write data to it")
        with _open(path, is_reported) as stream:
            yield stream if decompress is None else cast(IO[bytes], decompress(stream))
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        # Only errors of the operating system have a number.
        if suffix is not None and (not isinstance(error, OSError) or error.errno is None):
            raise InputError(
                f"{path}: not a complete {name} file ({error}); download or compress it again, or remove {suffix} from "
                "its name if it is not compressed"
            ) from error
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"{path}: cannot be read ({reason}); check its permissions and the disk") from error
