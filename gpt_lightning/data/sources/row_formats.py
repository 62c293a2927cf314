"""Parsers of text formats: plain text, JSON Lines, JSON, CSV and TSV.

Parsers of lines keep one record in memory. ``lines`` are pairs of line number and line, with its line end. ``path`` is
used only in messages, which name ``path:line``.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import filterfalse, islice, tee
from pathlib import Path
from typing import Any, Final, NoReturn

from gpt_lightning.errors import InputError

Lines = Iterable[tuple[int, str]]

# If a closing quote is missing, the csv module collects the rest of the file into one field. This limit stops it before
# memory runs out.
_MAX_CSV_FIELD: Final = 1 << 28
_DELIMITERS: Final = ",;\t|"
_MAX_OPENING_LINES: Final = 1000
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_REPR: Final = 60
_MAX_NAMES: Final = 12


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


def unreadable(error: InputError, where: str) -> Row:
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
            fields = _parse(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{where}: not JSON ({error.msg} at column {error.colno}); fix the line") from error
        except (ValueError, RecursionError) as error:  # a number has too many digits, or the nesting is too deep
            raise InputError(f"{where}: the JSON cannot be parsed ({error}); fix the line") from error
        if not isinstance(fields, dict):
            raise InputError(f'{where}: a {type(fields).__name__}, not an object like {{"text": "..."}}; fix the line')
        yield Row(fields, where)


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
    for number, fields in enumerate(_records(path, document), start=1):
        where = f"{path}:row {number}"
        if not isinstance(fields, dict):
            raise InputError(f"{where}: a {type(fields).__name__}, not an object; fix or remove this row")
        yield Row(fields, where)


def csv_rows(path: Path, lines: Lines) -> Iterator[Row]:
    """Yield the records below the header. Quoted fields may contain delimiters and line ends.

    The delimiter is the first of comma, semicolon, tab and vertical bar that splits the header and gives the first
    record below it the same number of fields. If none does, it is the comma if that splits the header, or else the
    delimiter that splits it most often.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_CSV_FIELD))
    delimiter, lines = _delimiter(lines)
    yield from _table(path, _csv_records(path, lines, delimiter), f"quote fields that contain {delimiter!r}")


def tsv_rows(path: Path, lines: Lines) -> Iterator[Row]:
    """Yield the lines below the header, split at every tab. Quotes have no special meaning."""
    records = ((number, _strip_line_end(line).split("\t")) for number, line in lines)
    return _table(path, records, "fix the row; a field cannot contain a tab or a line end")


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


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value; write null instead")


_DECODER: Final = json.JSONDecoder(parse_constant=_reject_constant)


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


def _delimiter(lines: Lines) -> tuple[str, Lines]:
    """Return the delimiter of a CSV file, and its lines from the first."""
    lines, *copies = tee(lines, 1 + len(_DELIMITERS))
    widths = {delimiter: _opening_widths(copy, delimiter) for delimiter, copy in zip(_DELIMITERS, copies, strict=True)}
    fitting = [delimiter for delimiter, (header, first) in widths.items() if header == first > 1]
    if fitting:
        return fitting[0], lines
    return "," if widths[","][0] > 1 else max(widths, key=lambda delimiter: widths[delimiter][0]), lines


def _opening_widths(lines: Lines, delimiter: str) -> tuple[int, int]:
    """Return the number of fields of the header and of the first record below it, 0 for a record that is unreadable."""
    widths = []
    # The limit bounds the lines that are kept in memory if a closing quote is missing.
    texts = (line for _, line in islice(lines, _MAX_OPENING_LINES))
    with suppress(csv.Error):
        for values in filterfalse(_is_blank, csv.reader(texts, delimiter=delimiter, strict=True)):
            widths.append(len(values))
            if len(widths) == 2:
                break
    header, first, *_ = *widths, 0, 0
    return header, first


def _is_blank(values: list[str]) -> bool:
    return not values or values == [""]


def _csv_records(path: Path, lines: Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # Without strict=True, a quote that is never closed silently includes the rest of the file.
    reader = csv.reader((line for _, line in lines), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            if "new-line character" in str(error):
                raise InputError(
                    f"{path}: the lines end with a carriage return (\\r) alone, as on old Macintoshes. Convert it with "
                    "tr '\\r' '\\n' < OLD > NEW"
                ) from error
            raise InputError(f"{path}:{number}: not CSV ({error}); fix the quotes of this row") from error
        if values is None:
            return
        yield number, values


def _table(path: Path, records: Iterable[tuple[int, list[str]]], hint: str) -> Iterator[Row]:
    """Yield the records as rows with the names of the first, the header. Blank records are skipped."""
    header: list[str] | None = None
    for number, values in records:
        if _is_blank(values):
            continue
        if header is None:
            header = values
            duplicate = next((name for name, count in Counter(header).items() if count > 1), None)
            if duplicate is not None:
                raise InputError(
                    f"{path}:{number}: the header has two columns named {short_repr(duplicate)}; rename one"
                )
        elif len(values) != len(header):
            raise InputError(f"{path}:{number}: {len(values)} fields, but the header has {len(header)}; {hint}")
        else:
            yield Row(dict(zip(header, values, strict=True)), f"{path}:{number}")


def _strip_line_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")
