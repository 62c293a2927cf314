"""Parsers of CSV and TSV. A record that cannot be read is an ``unreadable`` row."""

import csv
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import filterfalse, islice, tee
from pathlib import Path
from typing import Final

from gpt_lightning.data.sources.read_file import UndecodableLine
from gpt_lightning.data.sources.row_formats import Lines, Row, short_repr, unreadable_row
from gpt_lightning.errors import InputError

# If a closing quote is missing, the csv module collects the rest of the file into one field. This limit stops it before
# memory runs out.
_MAX_FIELD: Final = 1 << 28
_DELIMITERS: Final = ",;\t|"
_MAX_OPENING_LINES: Final = 1000

_Record = tuple[int, list[str] | InputError]
"""Number of the first line of a record, and its fields or the reason why it cannot be read."""


def check_delimiter(delimiter: str) -> str:
    r"""Return the delimiter that a user gives, a single character; ``\t`` and ``tab`` are a tab.

    Raises:
        InputError: it is not a single character, or it has another meaning in CSV.
    """
    found = "\t" if delimiter in ("\\t", "tab") else delimiter
    if len(found) != 1 or found in '"\r\n':
        raise InputError(
            f"--data.delimiter={short_repr(delimiter)} must be a single character, such as ; or | or tab, and neither "
            "a quote nor a line end"
        )
    return found


def csv_rows(path: Path, lines: Lines, delimiter: str | None = None) -> Iterator[Row]:
    """Yield the records below the header. Quoted fields may contain delimiters and line ends.

    Without ``delimiter``, it is the first of comma, semicolon, tab and vertical bar that splits the header and gives
    the first record below it the same number of fields. If none does, it is the comma if that splits the header, or
    else the delimiter that splits it most often.

    A record with an error in its quotes ends with its first line, so that the lines after it can be read.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD))
    if delimiter is None:
        delimiter, lines = _delimiter(lines)
    hint = f"quote fields that contain {delimiter!r}, or choose another delimiter with --data.delimiter"
    yield from _table(path, _csv_records(path, lines, delimiter), hint)


def tsv_rows(path: Path, lines: Lines, delimiter: str | None = None) -> Iterator[Row]:
    """Yield the lines below the header, split at every tab or other delimiter. Quotes have no special meaning."""
    records = (
        (number, line.error if isinstance(line, UndecodableLine) else _strip_line_end(line).split(delimiter or "\t"))
        for number, line in lines
    )
    return _table(path, records, "fix the row; a field cannot contain a tab or a line end")


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


class _Lines:
    """Lines of a file for the csv module, which can be read again from the second line of the current record."""

    def __init__(self, lines: Lines) -> None:
        self._rest = iter(lines)
        self._again = deque[tuple[int, str]]()
        self.record: list[tuple[int, str]] = []
        """Lines of the current record."""

    def __iter__(self) -> Iterator[str]:
        while (line := self._again.popleft() if self._again else next(self._rest, None)) is not None:
            self.record.append(line)
            yield line[1]

    def go_back(self) -> None:
        """Continue with the second line of the current record."""
        self._again.extendleft(reversed(self.record[1:]))


def _csv_records(path: Path, lines: Lines, delimiter: str) -> Iterator[_Record]:
    source = _Lines(lines)
    while True:
        # Without strict=True, a quote that is never closed silently includes the rest of the file.
        reader = csv.reader(iter(source), delimiter=delimiter, strict=True)
        try:
            for values in reader:
                number = source.record[0][0]
                undecodable = next((line for _, line in source.record if isinstance(line, UndecodableLine)), None)
                source.record = []
                yield number, values if undecodable is None else undecodable.error
            return
        except csv.Error as error:
            number = source.record[0][0]
            source.go_back()
            source.record = []
            yield number, _csv_error(f"{path}:{number}", str(error))


def _csv_error(where: str, reason: str) -> InputError:
    if "new-line character" in reason:
        return InputError(f"{where}: a field contains a carriage return (\\r); quote the field, or remove it")
    if "field larger" in reason:
        return InputError(f"{where}: not CSV ({reason}); the quote that opens in this row is probably never closed")
    if "unexpected end" in reason:
        return InputError(f"{where}: not CSV ({reason}); a quote opens in this row but is never closed: fix it")
    return InputError(
        f"{where}: not CSV ({reason}); fix the quotes of this row: a quote inside a quoted field must be doubled"
    )


def _table(path: Path, records: Iterable[_Record], hint: str) -> Iterator[Row]:
    """Yield the records as rows with the names of the first, the header.

    Blank records are skipped, and so are columns without a name at the end of the header if they are empty.
    """
    header: list[str] | None = None
    for number, values in records:
        where = f"{path}:{number}"
        if isinstance(values, InputError):
            if header is None:
                raise values
            yield unreadable_row(values, where)
        elif _is_blank(values):
            continue
        elif header is None:
            header = _without_blank_end(values, 1)
            names = Counter(name for name in header if name)
            duplicate = next((name for name, count in names.items() if count > 1), None)
            if duplicate is not None:
                raise InputError(f"{where}: the header has two columns named {short_repr(duplicate)}; rename one")
        else:
            fields = _without_blank_end(values, len(header))
            if len(fields) == len(header):
                yield Row(dict(zip(header, fields, strict=True)), where)
            else:
                message = f"{where}: {len(fields)} fields, but the header has {len(header)}; {hint}"
                yield unreadable_row(InputError(message), where)


def _without_blank_end(values: list[str], least: int) -> list[str]:
    """Return the values without blank ones at the end, but at least the first ``least``."""
    stop = len(values)
    while stop > least and not values[stop - 1].strip():
        stop -= 1
    return values[:stop]


def _strip_line_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")
