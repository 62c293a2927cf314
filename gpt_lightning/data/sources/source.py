"""Readers of sources (files, folders, globs, hub datasets), which yield rows with locations, or pieces of text.

All readers stream: memory holds one row or one piece of text, however large the file.
"""

import contextlib
import glob
import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from gpt_lightning.data.sources.formats import SUFFIXES, Row, file_rows, suffix, supported_formats, text_blocks
from gpt_lightning.data.sources.row_formats import join_names, short_repr
from gpt_lightning.downloads import may_download, offline
from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home

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
"""A file, a folder, a glob (``**`` allowed), ``hub:NAME[:CONFIG][@SPLIT]``, or a list of these."""

PIECE_CHARACTERS: Final = 64 * 1024
"""Maximum length of a piece. Pieces give the tokenizer work for every core and bound its memory."""

_HUB: Final = "hub:"


class Piece(NamedTuple):
    """Consecutive part of a document, at most ``PIECE_CHARACTERS`` long."""

    text: str
    starts_document: bool


def read_rows(source: Source, *, split: str, key: str | None = None) -> Iterator[Row]:
    """Yield the rows of a source, file by file, in constant memory.

    A ``.txt`` file is one row ``{"text": ...}``, loaded into memory; ``read_texts`` reads it in pieces.

    Args:
        source: the source.
        split: split (train, validation or test) of a ``hub:`` dataset that names none.
        key: option that sets the source, for messages; by default ``--data.<split>``.

    Raises:
        InputError: a file is missing, empty, unreadable or malformed, or a dataset cannot be loaded.
    """
    key = key or f"--data.{split}"
    for item in resolve(source, key):
        yield from _item_rows(item, split, key, column=None)


def read_texts(source: Source, *, split: str, text_column: str = "text", key: str | None = None) -> Iterator[Piece]:
    """Yield the documents of a source in pieces of at most ``PIECE_CHARACTERS``. No character is lost.

    A document is the ``text_column`` of a row, or a complete ``.txt`` file, which is read incrementally. A long
    document is split after the last newline in the second half of a piece. Without a newline it is split before the
    last space, where byte-level tokenizers start a word; without a space, at the maximum length. Empty documents are
    skipped.

    Args:
        source: the source.
        split: split (train, validation or test) of a ``hub:`` dataset that names none.
        text_column: column with the text.
        key: option that sets the source, for messages; by default ``--data.<split>``.

    Raises:
        InputError: a source cannot be read, a text is missing, null or not a string, or all texts are empty.
    """
    key = key or f"--data.{split}"
    has_text = False
    for item in resolve(source, key):
        if not item.startswith(_HUB) and suffix(Path(item)) == ".txt":
            pieces = _split_document(text_blocks(Path(item)))
        else:
            rows = _item_rows(item, split, key, column=text_column)
            pieces = (piece for row in rows for piece in _split_document([row_text(row, text_column)]))
        for piece in pieces:
            has_text = True
            yield piece
    if not has_text:
        raise InputError(f"{key}: every text of {source!r} is empty; choose a source with text")


def row_value(row: Row, column: str, key: str) -> Any:
    """Return the value of a column; ``key`` is the option that names the column.

    Raises:
        InputError: the column is missing or null.
    """
    if column not in row.fields:
        names = join_names(row.fields) or "none"
        raise InputError(
            f"{row.where}: there is no column {column!r}; the columns are {names}; choose one with {key}=COLUMN"
        )
    if row.fields[column] is None:
        raise InputError(f"{row.where}: column {column!r} is null; fix or remove this row")
    return row.fields[column]


def row_text(row: Row, column: str, key: str = "--data.text_column") -> str:
    """Return the text in a column; ``key`` is the option that names the column.

    Raises:
        InputError: the column is missing, null or not a string.
    """
    value = row_value(row, column, key)
    if not isinstance(value, str):
        raise InputError(
            f"{row.where}: column {column!r} is of type {type(value).__name__}, not a string; fix or remove this row"
        )
    return value


def filled_text(row: Row, column: str, key: str = "--data.text_column") -> str:
    """Return the text in a column, which must not be empty; ``key`` is the option that names the column.

    Raises:
        InputError: the column is missing, null, not a string, or only whitespace.
    """
    text = row_text(row, column, key)
    if not text or text.isspace():
        raise InputError(f"{row.where}: column {column!r} is empty; fix or remove this row")
    return text


def row_id(row: Row, column: str, number: int) -> str:
    """Return the id of a row: the value of ``column`` or, if that is missing or null, the number of the row.

    Raises:
        InputError: the value is not a string or an integer.
    """
    value = row.fields.get(column)
    if value is None:
        return str(number)
    if not isinstance(value, str | int):
        raise InputError(
            f"{row.where}: column {column!r} is {short_repr(value)}, not an id (a string or a whole number); fix this "
            "row, or choose another column with --data.id_column=COLUMN"
        )
    return str(value)


def fingerprint(source: Source, *, split: str, key: str | None = None) -> str:
    """Return a hex digest that changes if the contents of a source may have changed.

    For files it covers path, size, mtime and ctime instead of the bytes, so that large files take no time. Every write
    changes ctime, which users cannot set.

    Args:
        source: the source.
        split: split (train, validation or test) of a ``hub:`` dataset that names none.
        key: option that sets the source, for messages; by default ``--data.<split>``.

    Raises:
        InputError: a file is missing, or a dataset cannot be loaded.
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
    """Return the existing files and the ``hub:`` names of a source, in a fixed order."""
    items = [source] if isinstance(source, str) else source
    if not items or not all(items):
        raise InputError(f"{key}: the source is empty; set it to a file, a folder, a glob or hub:NAME")
    return [found for item in items for found in ([item] if item.startswith(_HUB) else _paths(item, key))]


def _paths(item: str, key: str) -> list[str]:
    """Return the files that a file, a folder or a glob names."""
    path = expand_home(item)
    if path.is_file():
        found = [path]
    elif path.is_dir():
        inside = (file for file in path.rglob("*") if not _is_hidden(file.relative_to(path)))
        # Folders often hold .json files that are not data, such as a tokenizer, so these must be named explicitly.
        found = sorted(file for file in inside if suffix(file) in {*SUFFIXES} - {".json"} and file.is_file())
        if not found:
            raise InputError(
                f"{key}: the folder {item} has no file with a supported suffix ({supported_formats()}; name .json "
                "files explicitly); choose a different folder"
            )
    elif path.exists():
        raise InputError(f"{key}: {item} is not a regular file; copy its contents into a file")
    elif any(character in item for character in "*?["):
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 (Path.glob refuses absolute patterns)
        found = sorted(file for file in map(Path, matches) if file.is_file())
        if not found:
            raise InputError(f"{key}: no file matches {item} (in {Path.cwd()}); fix the pattern")
    else:
        raise InputError(f"{key}: {item} does not exist (in {Path.cwd()}); choose a file, a folder or a glob")
    for file in found:
        if suffix(file) not in SUFFIXES:
            raise InputError(
                f"{key}: {file} has an unsupported suffix; rename it to match its format: {supported_formats()}"
            )
    return [str(file) for file in found]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _item_rows(item: str, split: str, key: str, column: str | None) -> Iterator[Row]:
    """Yield the rows of a file or a hub dataset; ``column`` is the only one needed, or None for all."""
    row = None
    for row in _hub_rows(item, split, key, column) if item.startswith(_HUB) else file_rows(Path(item), column):
        yield row
    if row is None:
        raise InputError(f"{item}: there are no rows; remove it from {key}, or add rows")


def _hub_rows(item: str, split: str, key: str, column: str | None) -> Iterator[Row]:
    data = _load_hub(item, split, key)
    if column in data.column_names:
        data = data.select_columns([column])
    for number, fields in enumerate(data, start=1):
        yield Row(fields, f"{item}:row {number}")


@lru_cache(maxsize=8)  # the fingerprint and the rows both need the dataset, and loading uses the network
def _load_hub(item: str, split: str, key: str) -> Any:
    name, _, chosen = item.removeprefix(_HUB).partition("@")
    name, _, config = name.partition(":")
    import datasets

    try:
        with contextlib.nullcontext() if may_download(item) else offline():
            return datasets.load_dataset(name, config or None, split=chosen or split)
    except Exception as error:  # the remedies are the same for a wrong name and for a failing network
        if not may_download(item):
            raise InputError(
                f"{key}: {item} is not on this machine, and not downloaded, because only a file names it and you did "
                f"not. To download it, add {key}={item}"
            ) from None
        reason = " ".join(str(error).split())
        raise InputError(
            f"{key}: cannot load {item} ({type(error).__name__}: {reason}); check the name, config, split and network, "
            f"or download it and set {key} to local files ({supported_formats()})"
        ) from error


def _split_document(blocks: Iterator[str] | list[str]) -> Iterator[Piece]:
    """Split a document, given in blocks, into pieces that do not depend on the size of the blocks."""
    rest, first = "", True
    for block in blocks:
        text, start = rest + block, 0
        while len(text) - start > PIECE_CHARACTERS:
            end = _piece_end(text, start)
            yield Piece(text[start:end], first)
            start, first = end, False
        rest = text[start:]
    if rest:
        yield Piece(rest, first)


def _piece_end(text: str, start: int) -> int:
    """Return the end of the piece that starts at ``start``."""
    middle, end = start + PIECE_CHARACTERS // 2, start + PIECE_CHARACTERS
    newline = text.rfind("\n", middle, end)
    if newline >= 0:
        return newline + 1
    space = text.rfind(" ", middle, end)
    return space if space >= 0 else end
