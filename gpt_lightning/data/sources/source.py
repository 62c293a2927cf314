"""Sources (files, folders, globs, hub datasets) as rows and texts that know where they came from.

Everything streams: a file of 10 GB costs no more memory than one of 10 kB (one row, or one piece of text, at a time).
"""

import glob
import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from gpt_lightning.data.sources.formats import SUFFIXES, Row, file_rows, suffix, supported, text_blocks
from gpt_lightning.data.sources.row_formats import join_names, short_repr
from gpt_lightning.errors import InputError

__all__ = [
    "PIECE_CHARACTERS",
    "Piece",
    "Row",
    "Source",
    "filled_text",
    "fingerprint",
    "read_rows",
    "read_texts",
    "row_id",
    "row_text",
    "row_value",
]

Source = str | list[str]
"""A file, a folder, a glob (``**`` allowed), ``hub:NAME[:CONFIG][@SPLIT]``, or a list of those."""

PIECE_CHARACTERS: Final = 64 * 1024
"""Longest piece of a document. Cutting gives the tokenizer work for every core and bounds its memory."""

_HUB: Final = "hub:"


class Piece(NamedTuple):
    """At most ``PIECE_CHARACTERS`` of one document; its pieces joined are the document."""

    text: str
    starts_document: bool


def read_rows(source: Source, *, split: str, key: str | None = None) -> Iterator[Row]:
    """Yield the rows of ``source``, file by file, in constant memory.

    A ``.txt`` file is one row ``{"text": ...}`` and is read whole; ``read_texts`` reads it in pieces. ``split``
    (train, validation, test) is the split of a ``hub:`` data set that names none, and ``key`` is the option to blame
    (default ``--data.<split>``).

    Raises:
        InputError: something is missing, empty, unreadable or malformed.
    """
    key = key or f"--data.{split}"
    for item in resolve(source, key):
        yield from _item_rows(item, split, key, column=None)


def read_texts(source: Source, *, split: str, text_column: str = "text", key: str | None = None) -> Iterator[Piece]:
    """Yield the documents of ``source`` in pieces of at most ``PIECE_CHARACTERS``, every character kept.

    A document is a row's ``text_column``, or a whole ``.txt`` file (read incrementally). A long one is cut after the
    last newline of a piece's second half, else before the last space (where byte-level tokenizers start a word), else
    hard. A document of no characters is skipped.

    Raises:
        InputError: as ``read_rows``; also a text column that is absent, null or not a string, or no text at all.
    """
    key = key or f"--data.{split}"
    found = False
    for item in resolve(source, key):
        if not item.startswith(_HUB) and suffix(Path(item)) == ".txt":
            pieces = _cut(text_blocks(Path(item)))
        else:
            rows = _item_rows(item, split, key, column=text_column)
            pieces = (piece for row in rows for piece in _cut([row_text(row, text_column)]))
        for piece in pieces:
            found = True
            yield piece
    if not found:
        raise InputError(f"{key}: every text of {source!r} is empty; give a source that has text")


def row_value(row: Row, column: str, key: str) -> Any:
    """Return what is in ``column`` of ``row``; ``key`` is the option that names the column.

    Raises:
        InputError: there is no such column, or it is null.
    """
    if column not in row.fields:
        names = join_names(row.fields) or "none"
        raise InputError(f"{row.where}: there is no column {column!r}; the columns are {names}; choose with {key}")
    if row.fields[column] is None:
        raise InputError(f"{row.where}: {column!r} is null; fix or remove this row")
    return row.fields[column]


def row_text(row: Row, column: str, key: str = "--data.text_column") -> str:
    """Return the string in ``column`` of ``row``, or raise an InputError that says where it is not one."""
    value = row_value(row, column, key)
    if not isinstance(value, str):
        raise InputError(
            f"{row.where}: {column!r} is of type {type(value).__name__}, not a string; fix or remove this row"
        )
    return value


def filled_text(row: Row, column: str, key: str = "--data.text_column") -> str:
    """Return the string in ``column`` of ``row``, or raise an InputError also if nothing is in it but blanks."""
    text = row_text(row, column, key)
    if not text or text.isspace():
        raise InputError(f"{row.where}: {column!r} is empty; fix or remove this row")
    return text


def row_id(row: Row, column: str, number: int) -> str:
    """Return what the user calls ``row``: its ``column``, or, where that is absent or null, its ``number``."""
    value = row.fields.get(column)
    if value is None:
        return str(number)
    if not isinstance(value, str | int):
        raise InputError(f"{row.where}: {column!r} is {short_repr(value)}, not a string or a number; fix this row")
    return str(value)


def fingerprint(source: Source, *, split: str, key: str | None = None) -> str:
    """Return a hex digest that changes whenever the contents of ``source`` may have.

    For files it covers path, size and both times rather than the bytes: that is instant for 10 GB too, and any write
    moves ctime, which users cannot set back.

    Raises:
        InputError: something is missing, or a ``hub:`` data set cannot be loaded.
    """
    digest = hashlib.sha256()
    for item in resolve(source, key or f"--data.{split}"):
        if item.startswith(_HUB):
            state = [item, split, _load_hub(item, split, key or f"--data.{split}")._fingerprint]
        else:
            stat = Path(item).stat()
            state = [str(Path(item).resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        digest.update(json.dumps(state).encode() + b"\n")
    return digest.hexdigest()


def resolve(source: Source, key: str) -> list[str]:
    """Turn ``source`` into paths of files that exist and ``hub:`` names, in a fixed order."""
    items = [source] if isinstance(source, str) else source
    if not items or not all(items):
        raise InputError(f"{key}: no source is given; give a file, a folder, a glob or hub:NAME")
    return [found for item in items for found in ([item] if item.startswith(_HUB) else _paths(item, key))]


def _paths(item: str, key: str) -> list[str]:
    path = Path(item).expanduser()
    if path.is_file():
        found = [path]
    elif path.is_dir():
        inside = (file for file in path.rglob("*") if not _hidden(file.relative_to(path)))
        # A .json file beside data is as often something else, such as a tokenizer: it is read where it is named.
        found = sorted(file for file in inside if suffix(file) in {*SUFFIXES} - {".json"} and file.is_file())
        if not found:
            raise InputError(f"{key}: the folder {item} holds no file of a kind that is read: {supported()}")
    elif path.exists():
        raise InputError(f"{key}: {item} is not a regular file; copy its contents into one")
    elif any(character in item for character in "*?["):
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 (Path.glob refuses absolute patterns)
        found = sorted(file for file in map(Path, matches) if file.is_file())
        if not found:
            raise InputError(f"{key}: no file matches {item} (from {Path.cwd()}); fix the pattern")
    else:
        raise InputError(f"{key}: {item} does not exist (from {Path.cwd()}); give a file, a folder or a glob")
    for file in found:
        if suffix(file) not in SUFFIXES:
            raise InputError(f"{key}: {file} has no suffix that is known; name it as what it is: {supported()}")
    return [str(file) for file in found]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _item_rows(item: str, split: str, key: str, column: str | None) -> Iterator[Row]:
    """Yield one item's rows; of tables read only ``column`` where it is given and exists."""
    row = None
    for row in _hub_rows(item, split, key, column) if item.startswith(_HUB) else file_rows(Path(item), column):
        yield row
    if row is None:
        raise InputError(f"{item}: there are no rows in it; remove it from {key} or fill it")


def _hub_rows(item: str, split: str, key: str, column: str | None) -> Iterator[Row]:
    data = _load_hub(item, split, key)
    if column in data.column_names:
        data = data.select_columns([column])
    for number, fields in enumerate(data, start=1):
        yield Row(fields, f"{item}:row {number}")


@lru_cache(maxsize=8)  # loading asks the network, and the fingerprint and the rows both need it
def _load_hub(item: str, split: str, key: str) -> Any:
    name, _, chosen = item.removeprefix(_HUB).partition("@")
    name, _, config = name.partition(":")
    import datasets

    try:
        return datasets.load_dataset(name, config or None, split=chosen or split)
    except Exception as error:  # whatever is wrong, name or network, the way out is the same
        reason = " ".join(str(error).split())
        raise InputError(
            f"{key}: cannot load {item} ({type(error).__name__}: {reason}); check the name, config, split and network, "
            f"or download it and give local files ({supported()})"
        ) from error


def _cut(blocks: Iterator[str] | list[str]) -> Iterator[Piece]:
    """Cut one document, given in blocks of any size, into pieces that do not depend on the blocks."""
    rest, first = "", True
    for block in blocks:
        text, start = rest + block, 0
        while len(text) - start > PIECE_CHARACTERS:
            end = _cut_point(text, start)
            yield Piece(text[start:end], first)
            start, first = end, False
        rest = text[start:]
    if rest:
        yield Piece(rest, first)


def _cut_point(text: str, start: int) -> int:
    middle, end = start + PIECE_CHARACTERS // 2, start + PIECE_CHARACTERS
    newline = text.rfind("\n", middle, end)
    if newline >= 0:
        return newline + 1
    space = text.rfind(" ", middle, end)
    return space if space >= 0 else end
