"""Readers of plain or gzip-compressed files, which yield blocks of text or numbered lines.

An InputError about a file names the file and, for text, the line.
"""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast

from gpt_lightning.errors import InputError

BLOCK_BYTES: Final = 1 << 20


@contextmanager
def open_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain or gzip-compressed file, and convert errors while it is read to an InputError."""
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty (0 bytes); remove it from the source, or write data to it")
        with path.open("rb") as stream:
            yield cast(IO[bytes], gzip.GzipFile(fileobj=stream)) if path.suffix.lower() == ".gz" else stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: not a complete gzip file ({error}); download or compress it again, or remove .gz from its name "
            "if it is not compressed"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be read ({reason}); check its permissions and the disk") from error


def _not_utf8(path: Path, line: int, offset: int, error: UnicodeDecodeError) -> InputError:
    return InputError(
        f"{path}:{line}: not UTF-8 text (byte {offset}, counted from 0: {error.reason}); convert the file to UTF-8"
    )


def text_blocks(path: Path) -> Iterator[str]:
    """Yield the text of a file in blocks, with its original line ends and without a byte order mark.

    Raises:
        InputError: the file is empty, unreadable or not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, offset, empty = 1, 0, True
    with open_file(path) as stream:
        while block := stream.read(BLOCK_BYTES):
            if offset == 0 and block.startswith(codecs.BOM_UTF8):
                offset, block = len(codecs.BOM_UTF8), block[len(codecs.BOM_UTF8) :]
            pending = len(decoder.getstate()[0])  # bytes of a character that started in the last block
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError as error:
                line += error.object.count(b"\n", 0, error.start)
                raise _not_utf8(path, line, offset - pending + error.start, error) from error
            line += block.count(b"\n")
            offset += len(block)
            empty = empty and not text
            yield text
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise _not_utf8(path, line, offset - len(error.object), error) from error
    if empty:
        raise InputError(f"{path}: the file has no text; remove it from the source, or write text to it")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line with its line end) for a UTF-8 file, without a byte order mark."""
    offset = 0
    with open_file(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise _not_utf8(path, number, offset + error.start, error) from error
            offset += len(line)
            yield number, text.removeprefix("\ufeff") if number == 1 else text
