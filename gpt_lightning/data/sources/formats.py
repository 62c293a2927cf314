"""Table of file formats and their readers, which yield the rows of a file with their locations.

All readers except those of text and ``.json`` documents stream: memory depends on the longest row, not on the file. An
InputError about a file names the file and, for text, the line.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from gpt_lightning.data.sources.conll import conll_rows
from gpt_lightning.data.sources.csv_format import check_delimiter, csv_rows, tsv_rows
from gpt_lightning.data.sources.encoding import check_encoding
from gpt_lightning.data.sources.open_file import COMPRESSIONS, open_file, without_compression
from gpt_lightning.data.sources.parquet import parquet_rows
from gpt_lightning.data.sources.read_file import numbered_lines, text_blocks
from gpt_lightning.data.sources.row_formats import (
    Lines,
    Row,
    are_json_lines,
    json_rows,
    jsonl_rows,
    txt_rows,
)
from gpt_lightning.errors import InputError

__all__ = [
    "SUFFIXES",
    "TABLES",
    "TEXT_SUFFIXES",
    "ReadOptions",
    "Row",
    "file_rows",
    "has_json_rows",
    "is_text",
    "suffix",
    "supported_formats",
    "text_blocks",
]


@dataclass(frozen=True)
class ReadOptions:
    """Options for text files. By default, they are detected.

    Args:
        delimiter: character between the fields of CSV and TSV.
        encoding: character encoding. A byte order mark wins, and so do characters of UTF-8.

    Raises:
        InputError: an option is invalid.
    """

    delimiter: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            object.__setattr__(self, "delimiter", check_delimiter(self.delimiter))
        if self.encoding is not None:
            check_encoding(self.encoding)


Reader = Callable[[Path, str | None, ReadOptions], Iterator[Row]]
"""Function of a path, a column and options that yields rows.

The column is the only one that the caller needs, or None for all. Readers of text formats ignore it.
"""


def _line_reader(rows: Callable[[Path, Lines], Iterator[Row]]) -> Reader:
    """Return a file reader for a function that parses lines."""
    return lambda path, _, options: rows(path, numbered_lines(path, options.encoding))


def _table_reader(rows: Callable[[Path, Lines, str | None], Iterator[Row]]) -> Reader:
    """Return a file reader for a function that parses lines with a delimiter."""
    return lambda path, _, options: rows(path, numbered_lines(path, options.encoding, True), options.delimiter)


def _text_rows(path: Path, _: str | None, options: ReadOptions) -> Iterator[Row]:
    return txt_rows(path, "".join(text_blocks(path, options.encoding)))


def _json_rows(path: Path, _: str | None, options: ReadOptions) -> Iterator[Row]:
    """Yield the rows of a JSON document or, if the lines are objects, of JSON Lines."""
    lines = partial(numbered_lines, path, options.encoding)
    if are_json_lines(lines()):
        return jsonl_rows(path, lines())
    return json_rows(path, "".join(text_blocks(path, options.encoding)))


TABLES: Final[dict[str, Reader]] = {
    **dict.fromkeys((".jsonl", ".ndjson"), _line_reader(jsonl_rows)),
    ".json": _json_rows,
    ".csv": _table_reader(csv_rows),
    ".tsv": _table_reader(tsv_rows),
    ".parquet": lambda path, column, _: parquet_rows(path, column),
    **dict.fromkeys((".conll", ".bio", ".iob", ".iob2"), _line_reader(conll_rows)),
}
"""Suffix -> reader, for formats with many rows per file."""

READERS: Final[dict[str, Reader]] = {".txt": _text_rows, **TABLES}
"""Suffix -> reader. Each format may also be compressed, such as ``.jsonl.gz``."""

SUFFIXES: Final = tuple(READERS)

TEXT_SUFFIXES: Final = frozenset(
    f".{name}"
    for names in (
        "text md markdown mdx rst tex org adoc asciidoc",
        "py pyi js mjs cjs jsx ts tsx java kt kts scala groovy c h cc cpp cxx hh hpp hxx cu cuh cs fs vb go",
        "rs zig swift m mm rb php pl pm lua r jl hs ml mli ex exs erl clj cljs lisp el scm rkt dart nim v sv",
        "vhd vhdl f f90 f95 pas ada adb ads asm s sh bash zsh fish ps1 bat sql html htm css scss sass less",
        "vue svelte proto graphql cmake dockerfile tf lean agda coq sol",
    )
    for name in names.split()
)
"""Suffixes of prose and code, which are read from folders without tables. Other text files must be named."""

_HEAD_BYTES: Final = 8192


def suffix(path: Path) -> str:
    """Return the suffix of a file in lower case, without ``.gz``; the format may be unsupported."""
    return without_compression(Path(path.name.lower())).suffix


def supported_formats() -> str:
    """Return the supported suffixes, for messages."""
    return f"{', '.join(SUFFIXES)}, each also with {', '.join(COMPRESSIONS)}"


def is_text(path: Path) -> bool:
    """Return whether a file of an unknown format seems to be text: it has no zero bytes in its beginning.

    Raises:
        InputError: the file is empty or unreadable.
    """
    with open_file(path) as stream:
        head = stream.read(_HEAD_BYTES)
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or 0 not in head


def has_json_rows(path: Path) -> bool:
    """Return whether a ``.json`` file holds rows: JSON Lines, or a list of objects.

    Raises:
        InputError: the file is empty or unreadable.
    """
    opening = list(islice(numbered_lines(path), 10))
    return are_json_lines(opening) or "".join("".join(line for _, line in opening).split())[:2] == "[{"


def file_rows(path: Path, column: str | None = None, options: ReadOptions = ReadOptions()) -> Iterator[Row]:
    """Yield the rows of a file.

    Text and ``.json`` documents are loaded into memory; all others stream. ``row_formats`` and ``csv_format`` describe
    the rows of each text format. The fields of a row that cannot be read raise an InputError.

    Args:
        path: a file with a supported suffix.
        column: the only column that the caller needs, or None for all. Parquet reads only that column if it exists.
        options: options for text files.

    Raises:
        InputError: the file is empty, unreadable or malformed, or its suffix is unsupported.
    """
    reader = READERS.get(suffix(path), _text_rows if suffix(path) in TEXT_SUFFIXES else None)
    if reader is None:
        raise InputError(f"{path} has an unsupported suffix; rename it to match its format: {supported_formats()}")
    return reader(path, column, options)
