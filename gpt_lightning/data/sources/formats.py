"""The reader of each file format: a file becomes rows that know their place in it.

All but ``.txt`` and ``.json`` stream: a file of 10 GB costs no more memory than its longest row. What is wrong with a
file is an InputError that names the file and, where there are lines, the line.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gpt_lightning.data.sources.parquet import parquet_rows
from gpt_lightning.data.sources.read_file import numbered_lines, text_blocks
from gpt_lightning.data.sources.row_formats import (
    Lines,
    Row,
    conll_rows,
    csv_rows,
    json_rows,
    jsonl_rows,
    tsv_rows,
    txt_rows,
)

__all__ = ["SUFFIXES", "Row", "file_rows", "suffix", "supported", "text_blocks"]

Reader = Callable[[Path, str | None], Iterator[Row]]
"""File, and the only column that is needed, or None for all -> rows; readers of text ignore the column."""


def _by_lines(reader: Callable[[Path, Lines], Iterator[Row]]) -> Reader:
    """Return a reader of files for a reader of lines."""
    return lambda path, _: reader(path, numbered_lines(path))


def _whole(reader: Callable[[Path, str], Iterator[Row]]) -> Reader:
    """Return a reader of files for a reader of the whole text."""
    return lambda path, _: reader(path, "".join(text_blocks(path)))


READERS: Final[dict[str, Reader]] = {
    ".txt": _whole(txt_rows),
    ".jsonl": _by_lines(jsonl_rows),
    ".json": _whole(json_rows),
    ".csv": _by_lines(csv_rows),
    ".tsv": _by_lines(tsv_rows),
    ".parquet": parquet_rows,
    **dict.fromkeys((".conll", ".bio", ".iob", ".iob2"), _by_lines(conll_rows)),
}
"""Suffix -> reader; each file may also be compressed (``.jsonl.gz``)."""

SUFFIXES: Final = tuple(READERS)


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
    return READERS[suffix(path)](path, column)
