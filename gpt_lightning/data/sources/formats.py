"""The reader of each file format: a file becomes rows that know their place in it.

All but ``.txt`` and ``.json`` stream: a file of 10 GB costs no more memory than its longest row. What is wrong with a
file is an InputError that names the file and, where there are lines, the line.
"""

import codecs
import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast

from gpt_lightning.data.sources.row_formats import Row, conll_rows, csv_rows, json_rows, jsonl_rows, tsv_rows
from gpt_lightning.errors import InputError

__all__ = ["SUFFIXES", "Row", "file_rows", "suffix", "supported", "text_blocks"]

_CONLL: Final = (".conll", ".bio", ".iob", ".iob2")

SUFFIXES: Final = (".txt", ".jsonl", ".json", ".csv", ".tsv", ".parquet", *_CONLL)
"""What a file can be; each may also be compressed (``.jsonl.gz``)."""

_BLOCK_BYTES: Final = 1 << 20


def suffix(path: Path) -> str:
    """Return what kind of file ``path`` names, such as ``.jsonl``, compressed or not; it may be no known kind."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def supported() -> str:
    """Return the kinds of file that are read, for messages."""
    return ", ".join(SUFFIXES) + ", each also with .gz"


def file_rows(path: Path, column: str | None = None) -> Iterator[Row]:
    """Yield the rows of a file; of Parquet read only ``column`` where it is given and exists.

    ``row_formats`` says what the rows of each kind of text are. A ``.txt`` or ``.json`` file is read whole.

    Raises:
        InputError: the file is empty, unreadable or malformed.
    """
    kind = suffix(path)
    if kind == ".txt":
        return iter([Row({"text": "".join(text_blocks(path))}, f"{path}:1")])
    if kind == ".parquet":
        return _parquet_rows(path, column)
    if kind == ".json":
        return json_rows(path, "".join(text_blocks(path)))
    if kind in _CONLL:
        return conll_rows(path, _lines(path))
    tables = {".jsonl": jsonl_rows, ".csv": csv_rows, ".tsv": tsv_rows}
    return tables[kind](path, _lines(path))


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, compressed or not, and turn what goes wrong while it is read into an InputError."""
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty (0 bytes); remove it from the source or fill it")
        with path.open("rb") as stream:
            yield cast(IO[bytes], gzip.GzipFile(fileobj=stream)) if path.suffix.lower() == ".gz" else stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: not a whole gzip file ({error}); fetch or compress it again") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be read ({reason}); check the file and its permissions") from error


def _not_utf8(path: Path, line: int, offset: int, error: UnicodeDecodeError) -> InputError:
    return InputError(
        f"{path}:{line}: not UTF-8 text (byte {offset}, counted from 0: {error.reason}); convert the file to UTF-8"
    )


def text_blocks(path: Path) -> Iterator[str]:
    """Yield the text of a file in blocks, newlines as they are, without a byte order mark.

    Raises:
        InputError: the file is empty, unreadable or not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, offset, empty = 1, 0, True
    with _open(path) as stream:
        while block := stream.read(_BLOCK_BYTES):
            if offset == 0 and block.startswith(codecs.BOM_UTF8):
                offset, block = len(codecs.BOM_UTF8), block[len(codecs.BOM_UTF8) :]
            pending = len(decoder.getstate()[0])  # bytes of a character that the last block began
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
        raise InputError(f"{path}: there is no text in the file; remove it from the source or fill it")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line with its end) of a UTF-8 file, without a byte order mark."""
    offset = 0
    with _open(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise _not_utf8(path, number, offset + error.start, error) from error
            offset += len(line)
            yield number, text.removeprefix("\ufeff") if number == 1 else text


def _parquet_rows(path: Path, column: str | None) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    with _open(path) as stream, tempfile.TemporaryFile() as unpacked:
        if path.suffix.lower() == ".gz":
            # Parquet is read from its end: in a gzip stream every step back would decompress all over again.
            shutil.copyfileobj(stream, unpacked)
            stream = unpacked
        try:
            # buffer_size: stream the column chunks (a row group can be gigabytes) instead of reading them whole
            table = pyarrow.parquet.ParquetFile(stream, buffer_size=_BLOCK_BYTES, page_checksum_verification=True)
            columns = [column] if column in table.schema_arrow.names else None
            for batch in table.iter_batches(batch_size=256, columns=columns):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(fields, f"{path}:row {number}")
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{path}: not a whole Parquet file (after row {number}: {reason}); fetch or write it again"
            ) from error
