"""Parsers of text formats: plain text, JSON Lines and JSON.

Parsers of lines keep one record in memory. ``lines`` are pairs of line number and line, with its line end. ``path`` is
used only in messages, which name ``path:line``. A record that cannot be read is an ``unreadable_row``.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, NoReturn

from gpt_lightning.data.sources.read_file import UndecodableLine
from gpt_lightning.errors import InputError

Lines = Iterable[tuple[int, str]]

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_REPR: Final = 60
_MAX_NAMES: Final = 12
_JSON_LINES: Final = 10


@dataclass(frozen=True, slots=True)
class Row:
    """Record with its location: ``path:line``, or ``path:row N`` in formats without lines."""

    fields: Mapping[str, Any]
    where: str


class _Unreadable(Mapping[str, Any]):
    """Fields of a record that cannot be read: every access raises the error."""

    def __init__(self, error: InputError) -> None:
        self._error = error

    def __getitem__(self, name: str) -> NoReturn:
        raise self._error

    def __iter__(self) -> NoReturn:
        raise self._error

    def __len__(self) -> NoReturn:
        raise self._error


def unreadable_row(error: InputError, where: str) -> Row:
    """Return a row whose fields raise ``error``, so that it can be skipped like other invalid rows."""
    return Row(_Unreadable(error), where)


def txt_rows(path: Path, text: str) -> Iterator[Row]:
    """Yield the complete text as one row."""
    yield Row({"text": text}, f"{path}:1")


def jsonl_rows(path: Path, lines: Lines) -> Iterator[Row]:
    """Yield the object on each line; blank lines are skipped."""
    for number, line in lines:
        if line.isspace() or not line:
            continue
        where = f"{path}:{number}"
        try:
            yield Row(_json_object(line, where), where)
        except InputError as error:
            yield unreadable_row(error, where)


def _json_object(line: str, where: str) -> dict[str, Any]:
    if isinstance(line, UndecodableLine):
        raise line.error
    try:
        fields = _parse(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg} at column {error.colno}); fix the line") from error
    except (ValueError, RecursionError) as error:  # a number has too many digits, or the nesting is too deep
        raise InputError(f"{where}: the JSON cannot be parsed ({error}); fix the line") from error
    if not isinstance(fields, dict):
        raise InputError(f'{where}: a {type(fields).__name__}, not an object like {{"text": "..."}}; fix the line')
    return _without_constants(fields, where) if _may_have_constants(line) else fields


def _may_have_constants(text: str) -> bool:
    return "NaN" in text or "Infinity" in text


def are_json_lines(lines: Lines) -> bool:
    """Return whether lines are JSON Lines, and not one JSON document: two of the first ones are whole objects."""
    found = 0
    for index, (_, line) in enumerate(islice((each for each in lines if each[1].strip()), _JSON_LINES)):
        if index == 0 and not line.startswith("{"):
            return False
        try:
            found += isinstance(_parse(line), dict)
        except (ValueError, RecursionError):
            continue
        if found == 2:
            return True
    return False


def json_rows(path: Path, text: str) -> Iterator[Row]:
    """Yield the objects of a JSON document.

    The document is a list of objects, or an object with such a list under "data" or as its only list.
    """
    try:
        document = _parse(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: not JSON ({error.msg} at column {error.colno}); fix the line, or rename the file "
            "to .jsonl if each line is an object"
        ) from error
    except (ValueError, RecursionError) as error:  # a number has too many digits, or the nesting is too deep
        raise InputError(f"{path}: the JSON cannot be parsed ({error}); fix the file") from error
    is_checked = _may_have_constants(text)
    for number, fields in enumerate(_records(path, document), start=1):
        where = f"{path}:row {number}"
        try:
            if not isinstance(fields, dict):
                raise InputError(f"{where}: a {type(fields).__name__}, not an object; fix or remove this row")
            yield Row(_without_constants(fields, where) if is_checked else fields, where)
        except InputError as error:
            yield unreadable_row(error, where)


def without_surrogates(value: Any) -> Any:
    """Return a JSON value with U+FFFD in place of each lone surrogate, which UTF-8 and tokenizers cannot encode."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {without_surrogates(name): without_surrogates(item) for name, item in value.items()}
    return value


def short_repr(value: Any) -> str:
    """Return the repr of a value, truncated for a message."""
    text = repr(value)
    return text if len(text) <= _MAX_REPR else f"{text[: _MAX_REPR - 1]}…"


def join_names(names: Collection[str]) -> str:
    """Return names joined with commas for a message, truncated to the first dozen."""
    return ", ".join(map(short_repr, islice(names, _MAX_NAMES))) + ", …" * (len(names) > _MAX_NAMES)


@dataclass(frozen=True)
class _Constant:
    """NaN or Infinity, which Python reads but JSON does not have."""

    name: str


_DECODER: Final = json.JSONDecoder(parse_constant=_Constant)


def _without_constants(fields: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the fields of a row.

    Raises:
        InputError: a value is NaN or infinite.
    """
    if (name := _constant(fields)) is not None:
        raise InputError(f"{where}: the JSON cannot be parsed ({name} is not a JSON value; write null instead)")
    return fields


def _constant(value: Any) -> str | None:
    if isinstance(value, _Constant):
        return value.name
    if isinstance(value, dict | list):
        values = value.values() if isinstance(value, dict) else value
        return next((found for item in values if (found := _constant(item)) is not None), None)
    return None


def _parse(text: str) -> Any:
    value = _DECODER.decode(text)
    # Only an escape sequence can produce a lone surrogate.
    return without_surrogates(value) if "\\u" in text else value


def _records(path: Path, document: Any) -> list[Any]:
    """Return the list of rows in a JSON document."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        raise InputError(f"{path}: a {type(document).__name__}, not a list of objects; write a list of objects")
    lists = [value for value in document.values() if isinstance(value, list)]
    data = document.get("data")
    if isinstance(data, list):
        return data
    if len(lists) == 1:
        return lists[0]
    names = join_names(document) or "none"
    raise InputError(
        f'{path}: an object with {len(lists)} lists (its keys: {names}) and none under "data"; '
        'write a list of objects, or put the list under "data"'
    )
