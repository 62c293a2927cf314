"""Table of file formats and their readers, which yield the rows of a file with their locations.

All readers except those of ``.txt`` and ``.json`` stream: memory depends on the longest row, not on the file. An
InputError about a file names the file and, for text, the line.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gpt_lightning.data.sources.conll import conll_rows
from gpt_lightning.data.sources.parquet import parquet_rows
from gpt_lightning.data.sources.read_file import numbered_lines, text_blocks
from gpt_lightning.data.sources.row_formats import (
    Lines,
    Row,
    csv_rows,
    json_rows,
    jsonl_rows,
    tsv_rows,
    txt_rows,
)

__all__ = ["SUFFIXES", "Row", "file_rows", "suffix", "supported_formats", "text_blocks"]

Reader = Callable[[Path, str | None], Iterator[Row]]
"""Function of a path and a column that yields rows.

The column is the only one that the caller needs, or None for all. Readers of text formats ignore it.
"""


def _line_reader(rows: Callable[[Path, Lines], Iterator[Row]]) -> Reader:
    """Return a file reader for a function that parses lines."""
    return lambda path, _: rows(path, numbered_lines(path))


def _text_reader(rows: Callable[[Path, str], Iterator[Row]]) -> Reader:
    """Return a file reader for a function that parses the complete text."""
    return lambda path, _: rows(path, "".join(text_blocks(path)))


READERS: Final[dict[str, Reader]] = {
    ".txt": _text_reader(txt_rows),
    ".jsonl": _line_reader(jsonl_rows),
    ".json": _text_reader(json_rows),
    ".csv": _line_reader(csv_rows),
    ".tsv": _line_reader(tsv_rows),
    ".parquet": parquet_rows,
    **dict.fromkeys((".conll", ".bio", ".iob", ".iob2"), _line_reader(conll_rows)),
}
"""Suffix -> reader. Each format may also be gzip-compressed, such as ``.jsonl.gz``."""

SUFFIXES: Final = tuple(READERS)


def suffix(path: Path) -> str:
    """Return the suffix of a file in lower case, without ``.gz``; the format may be unsupported."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def supported_formats() -> str:
    """Return the supported suffixes, for messages."""
    return ", ".join(SUFFIXES) + ", each also with .gz"


def file_rows(path: Path, column: str | None = None) -> Iterator[Row]:
    """Yield the rows of a file.

    ``.txt`` and ``.json`` files are loaded into memory; all others stream. ``row_formats`` describes the rows of each
    text format.

    Args:
        path: a file with a supported suffix.
        column: the only column that the caller needs, or None for all. Parquet reads only that column if it exists.

    Raises:
        InputError: the file is empty, unreadable or malformed.
    """
    return READERS[suffix(path)](path, column)
