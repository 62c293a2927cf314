"""Opening of plain or compressed files as streams of bytes."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Final, cast

from gpt_lightning.errors import InputError

BLOCK_BYTES: Final = 1 << 20


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


@contextmanager
def open_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain or compressed file, and convert errors while it is read to an InputError."""
    suffix = compression(path)
    name, decompress = ("", None) if suffix is None else COMPRESSIONS[suffix]
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty (0 bytes); remove it from the source, or write data to it")
        with path.open("rb") as stream:
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
