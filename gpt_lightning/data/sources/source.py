"""Readers of sources (files, folders, globs, hub datasets), which yield rows with locations, or pieces of text.

All readers stream: memory holds one row or one piece of text, however large the file.
"""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from gpt_lightning.data.sources.bad_rows import cause
from gpt_lightning.data.sources.class_labels import class_names, with_class_names
from gpt_lightning.data.sources.documents import PIECE_CHARACTERS, Piece, split_documents
from gpt_lightning.data.sources.encoding import EncodingError, find_encoding
from gpt_lightning.data.sources.find_files import HUB, Source, folder_lines, resolve
from gpt_lightning.data.sources.formats import (
    TABLES,
    ReadOptions,
    Row,
    file_rows,
    suffix,
    supported_formats,
    text_blocks,
)
from gpt_lightning.data.sources.row_formats import join_names, short_repr
from gpt_lightning.downloads import may_download, offline
from gpt_lightning.errors import InputError

__all__ = [
    "PIECE_CHARACTERS",
    "Piece",
    "ReadOptions",
    "Row",
    "Source",
    "filled_text",
    "fingerprint",
    "read_rows",
    "read_texts",
    "resolve",
    "row_id",
    "row_text",
    "row_value",
    "source_lines",
]


def read_rows(
    source: Source, *, split: str, key: str | None = None, options: ReadOptions = ReadOptions()
) -> Iterator[Row]:
    """Yield the rows of a source, file by file, in constant memory.

    A ``.txt`` file is one row ``{"text": ...}``, loaded into memory; ``read_texts`` reads it in pieces. The fields of a
    row that cannot be read raise an InputError.

    Args:
        source: the source.
        split: split (train, validation or test) of a ``hub:`` dataset that names none.
        key: option that sets the source, for messages; by default ``--data.<split>``.
        options: options for text files.

    Raises:
        InputError: a file is missing, empty, unreadable or malformed, or a dataset cannot be loaded.
    """
    key = key or f"--data.{split}"
    for item in resolve(source, key):
        yield from _item_rows(item, split, key, None, options)


def read_texts(
    source: Source,
    *,
    split: str,
    text_column: str = "text",
    key: str | None = None,
    options: ReadOptions = ReadOptions(),
    document_separator: str | None = None,
    skipped: Counter[str] | None = None,
) -> Iterator[Piece]:
    """Yield the documents of a source in pieces of at most ``PIECE_CHARACTERS``. No character is lost.

    A document is the ``text_column`` of a row, or a complete text file, which is read incrementally. Both may hold
    several documents with a separator between them. A long document is split after the last newline in the second half
    of a piece. Without a newline it is split before the last space, where byte-level tokenizers start a word; without a
    space, at the maximum length. Empty documents are skipped.

    Args:
        source: the source.
        split: split (train, validation or test) of a ``hub:`` dataset that names none.
        text_column: column with the text.
        key: option that sets the source, for messages; by default ``--data.<split>``.
        options: options for text files.
        document_separator: string between the documents of a text.
        skipped: number of invalid rows by cause, which are added to it; None stops at the first one.

    Raises:
        InputError: a source cannot be read, all texts are empty, or a text is missing, null or not a string and is not
            skipped.
    """
    key = key or f"--data.{split}"
    has_text = False
    for item in resolve(source, key):
        for where, blocks in _texts(item, split, key, text_column, options, skipped):
            for piece in split_documents(blocks, document_separator):
                has_text = True
                yield piece._replace(where=where)
    if not has_text:
        reason = "empty" if not skipped else f"empty or invalid ({skipped.most_common(1)[0][0]})"
        raise InputError(f"{key}: every text of {source!r} is {reason}; choose a source with text")


def _texts(
    item: str, split: str, key: str, text_column: str, options: ReadOptions, skipped: Counter[str] | None
) -> Iterator[tuple[str, Iterator[str] | list[str]]]:
    """Yield the location of each text of a file or a hub dataset, and the text in blocks."""
    if not item.startswith(HUB) and suffix(Path(item)) not in TABLES:
        blocks = _text_blocks(Path(item), options, skipped)
        if blocks is not None:
            yield item, blocks
        return
    for row in _item_rows(item, split, key, text_column, options):
        try:
            text = row_text(row, text_column)
        except InputError as error:
            if skipped is None:
                hint = " (--data.on_bad_row=skip skips invalid rows)" if key.startswith("--data.") else ""
                raise InputError(f"{error}{hint}") from error
            skipped[cause(error)] += 1
        else:
            yield row.where, [text]


def _text_blocks(path: Path, options: ReadOptions, skipped: Counter[str] | None) -> Iterator[str] | None:
    """Return the text of a file in blocks, or None if it is skipped because it cannot be decoded."""
    if skipped is not None:
        try:
            for _ in text_blocks(path, options.encoding):  # a document cannot be taken back after its first piece
                pass
        except EncodingError as error:
            skipped[cause(error)] += 1
            return None
    return text_blocks(path, options.encoding)


def row_value(row: Row, column: str, key: str) -> Any:
    """Return the value of a column; ``key`` is the option that names the column.

    ``meta.text`` is the value of ``text`` in the column ``meta``, unless there is a column of this name.

    Raises:
        InputError: the column is missing or null.
    """
    try:
        value = _value(row.fields, column)
    except KeyError:
        raise _no_column(row, column, key) from None
    if value is None:
        raise InputError(f"{row.where}: column {column!r} is null; fix or remove this row")
    return value


def _value(fields: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column or, inside of one, of a nested column."""
    if column in fields:
        return fields[column]
    parts = column.split(".")
    for count in range(len(parts) - 1, 0, -1):  # names may contain dots
        inner = fields.get(".".join(parts[:count]))
        if isinstance(inner, Mapping):
            return _value(inner, ".".join(parts[count:]))
    raise KeyError(column)


def _no_column(row: Row, column: str, key: str) -> InputError:
    names = join_names(_column_names(row.fields)) or "none"
    remedy = f"choose one with {key}=COLUMN"
    if len(row.fields) == 1 and column in next(iter(row.fields)):
        remedy += ", or the character between the columns with --data.delimiter"
    return InputError(f"{row.where}: there is no column {column!r}; the columns are {names}; {remedy}")


def _column_names(fields: Mapping[str, Any]) -> list[str]:
    """Return the names of columns, and of the columns inside of them."""
    names = []
    for name, value in fields.items():
        names += [f"{name}.{inner}" for inner in _column_names(value)] if isinstance(value, Mapping) else [name]
    return names


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
        if item.startswith(HUB):
            state = [item, split, _load_hub(item, split, key or f"--data.{split}")._fingerprint]
        else:
            stat = Path(item).stat()
            state = [str(Path(item).resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        digest.update(json.dumps(state).encode() + b"\n")
    return digest.hexdigest()


def source_bytes(source: Source | None) -> int | None:
    """Return the size of the files of a source on disk; None if it is unknown, as for the Hugging Face hub."""
    try:
        items = resolve(source or [], "")
    except InputError:  # reading the source raises it again, with the key of the source
        return None
    if any(item.startswith(HUB) for item in items):
        return None
    return sum(Path(item).stat().st_size for item in items)


def source_lines(source: Source, options: ReadOptions, key: str) -> list[str]:
    """Return lines about a source that users may not expect: files left out of folders, and detected encodings.

    Args:
        source: the source.
        options: options for text files.
        key: option that sets the source, for messages.

    Raises:
        InputError: a file is missing, empty or unreadable.
    """
    lines = folder_lines(source)
    if options.encoding is None:
        for item in resolve(source, key):
            path = Path(item)
            if not item.startswith(HUB) and suffix(path) in (".csv", ".tsv"):
                codec = find_encoding(path, may_be_windows=True).codec
                if not codec.startswith("utf-"):
                    lines.append(
                        f"{item}: not UTF-8, so it is read as {codec}. If letters are wrong, set --data.encoding"
                    )
    return lines


def _item_rows(item: str, split: str, key: str, column: str | None, options: ReadOptions) -> Iterator[Row]:
    """Yield the rows of a file or a hub dataset; ``column`` is the only one needed, or None for all."""
    is_hub = item.startswith(HUB)
    row = None
    for row in _hub_rows(item, split, key, column) if is_hub else file_rows(Path(item), column, options):
        yield row
    if row is None:
        raise InputError(f"{item}: there are no rows; remove it from {key}, or add rows")


def _hub_rows(item: str, split: str, key: str, column: str | None) -> Iterator[Row]:
    data = _load_hub(item, split, key)
    root = (
        None
        if column is None
        else next((name for name in (column, column.split(".")[0]) if name in data.column_names), None)
    )
    if root is not None:
        data = data.select_columns([root])
    features = getattr(data, "features", None)
    names = {} if features is None else class_names(features.to_dict())
    for number, fields in enumerate(data, start=1):
        yield Row(with_class_names(fields, names), f"{item}:row {number}")


@lru_cache(maxsize=8)  # the fingerprint and the rows both need the dataset, and loading uses the network
def _load_hub(item: str, split: str, key: str) -> Any:
    name, _, chosen = item.removeprefix(HUB).partition("@")
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
