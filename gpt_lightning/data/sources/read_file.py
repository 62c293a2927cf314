"""Readers of text files, which yield blocks of text or numbered lines.

An InputError about a file names the file and the line.
"""

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gpt_lightning.data.sources.encoding import Encoding, decoding_error, find_encoding
from gpt_lightning.data.sources.open_file import BLOCK_BYTES, open_file
from gpt_lightning.errors import InputError


class UndecodableLine(str):
    """Line with bytes that the encoding of its file does not have; they are replaced in the text."""

    __slots__ = ("error",)

    error: InputError
    """The reason and the place."""


def text_blocks(path: Path, encoding: str | None = None) -> Iterator[str]:
    """Yield the text of a file in blocks, with its original line ends and without a byte order mark.

    Args:
        path: the file.
        encoding: the encoding if the file has no byte order mark; by default UTF-8.

    Raises:
        InputError: the file is empty, unreadable or in another encoding.
    """
    codec = find_encoding(path, encoding).codec
    decoder = codecs.getincrementaldecoder(codec)()
    line, offset, empty = 1, 0, True
    with open_file(path, is_reported=True) as stream:
        while block := stream.read(BLOCK_BYTES):
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError as error:
                line += error.object.count(b"\n", 0, error.start)
                # The object also has the bytes of a character that started in the last block, but no byte order mark.
                start = offset + len(block) - len(error.object) + error.start
                raise decoding_error(path, line, start, error, codec) from error
            line += block.count(b"\n")
            offset += len(block)
            empty = empty and not text
            yield text
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise decoding_error(path, line, offset - len(error.object), error, codec) from error
    if empty:
        raise InputError(f"{path}: the file has no text; remove it from the source, or write text to it")


def numbered_lines(path: Path, encoding: str | None = None, may_be_windows: bool = False) -> Iterator[tuple[int, str]]:
    """Yield (line number, line with its line end) for a text file, without a byte order mark.

    Lines that cannot be decoded are of type ``UndecodableLine``.

    Args:
        path: the file.
        encoding: the encoding if the file has no byte order mark; by default UTF-8.
        may_be_windows: whether to recognize cp1252.

    Raises:
        InputError: the file is empty or unreadable.
    """
    found = find_encoding(path, encoding, may_be_windows)
    with open_file(path, is_reported=True) as stream:
        if found.is_byte_oriented and found.line_end == "\n":
            yield from _lines_of_bytes(path, stream, found.codec)
        else:
            yield from _lines_of_text(path, stream, found)


def _lines_of_bytes(path: Path, stream: IO[bytes], codec: str) -> Iterator[tuple[int, str]]:
    offset, codec = 0, codec.removesuffix("-sig")
    for number, line in enumerate(stream, start=1):
        try:
            text = line.decode(codec)
        except UnicodeDecodeError as error:
            text = UndecodableLine(line.decode(codec, errors="replace"))
            text.error = decoding_error(path, number, offset + error.start, error, codec)
        offset += len(line)
        yield number, text.removeprefix("\ufeff") if number == 1 else text


def _lines_of_text(path: Path, stream: IO[bytes], encoding: Encoding) -> Iterator[tuple[int, str]]:
    lines = io.TextIOWrapper(stream, encoding.codec, newline=encoding.line_end)
    number = 0
    try:
        for number, line in enumerate(lines, start=1):
            yield number, line
    except UnicodeDecodeError as error:
        raise decoding_error(path, number + 1, error.start, error, encoding.codec) from error
    finally:
        lines.detach()
