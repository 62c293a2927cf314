"""Parser of CoNLL files: one word per line with its tag, and a blank line between texts."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final

from gpt_lightning.data.sources.read_file import UndecodableLine
from gpt_lightning.data.sources.row_formats import Lines, Row, short_repr, unreadable_row
from gpt_lightning.errors import InputError

_OPENING_LINES: Final = 100
_TAG: Final = re.compile(r"O|[BIESLU]-\S+")


@dataclass(frozen=True, slots=True)
class ConllRow(Row):
    """Text of a CoNLL file. Its fields are the first column as "tokens" and the last, if there are two, as "tags"."""

    columns: tuple[list[str], ...]

    def choose(self, numbers: Sequence[int], has_tags: bool) -> Row:
        """Return a row with other columns.

        Args:
            numbers: number of the column of the words, and of that of their tags.
            has_tags: False if the row needs no tags. Then a file with only one column has the words.
        """
        width = len(self.columns)
        if width == 1 and (not has_tags or numbers[0] == 0):
            return Row({"tokens": self.columns[0]}, self.where)
        if not all(-width <= number < width for number in numbers[: 1 + has_tags]):
            message = f"--data.conll_columns={[*numbers]}, but there are only {width} columns, 0 to {width - 1}"
            return unreadable_row(InputError(f"{self.where}: {message}; choose two of them"), self.where)
        names = ("tokens", "tags")[: 1 + has_tags]
        return Row({name: self.columns[n] for name, n in zip(names, numbers, strict=False)}, self.where)


def conll_rows(path: Path, lines: Lines) -> Iterator[Row]:
    """Yield a row for each text.

    Each line has a word, any further columns, and the tag of the word. All lines have the same number of columns,
    separated by tabs or, in lines without a tab, by spaces. A text with another line is unreadable.

    Blank lines and ``-DOCSTART-`` lines end a text. Between texts, a line that starts with "#" and a space or tab is a
    comment, unless it ends with a tag. Inside a text, it is a word.
    """
    first, width, lines = _usual_width(lines)
    start, words, error = 0, list[list[str]](), None
    for number, line in chain(lines, [(0, "")]):
        columns = _columns(line)
        if not columns or columns[0] == "-DOCSTART-":
            if words:
                where = f"{path}:{start}"
                yield _row(words, where) if error is None else unreadable_row(error, where)
            words, error = [], None
            continue
        if not words and _is_comment(line, columns, width):
            continue
        if isinstance(line, UndecodableLine):
            error = error or line.error
        elif len(columns) != width or not columns[0]:
            error = error or _column_error(f"{path}:{number}", columns, f"line {first}", width)
        start = start if words else number
        words.append(columns)


def _row(words: list[list[str]], where: str) -> ConllRow:
    columns = tuple([word[number] for word in words] for number in range(len(words[0])))
    return ConllRow({"tokens": columns[0]} | ({"tags": columns[-1]} if len(columns) > 1 else {}), where, columns)


def _usual_width(lines: Lines) -> tuple[int, int, Iterable[tuple[int, str]]]:
    """Return the first line with the most frequent number of columns in the opening, that number, and all lines."""
    rest = iter(lines)
    opening = list(islice(rest, _OPENING_LINES))
    columns = {number: _columns(line) for number, line in opening if not line.startswith("-DOCSTART-")}
    widths = {number: len(each) for number, each in columns.items() if each and each[0] != "#"}
    # If every line starts with "#", those with a tag, or without anything else, are words.
    widths = widths or {
        number: len(each) for number, each in columns.items() if each and (len(each) == 1 or _TAG.fullmatch(each[-1]))
    }
    if not widths:
        return 0, 0, chain(opening, rest)
    width = Counter(widths.values()).most_common(1)[0][0]
    return next(number for number in widths if widths[number] == width), width, chain(opening, rest)


def _is_comment(line: str, columns: list[str], width: int) -> bool:
    """Return whether a line between two texts is a comment, and not the word "#" with its tag."""
    is_word = len(columns) == width and _TAG.fullmatch(columns[-1])
    return line.startswith(("# ", "#\t")) and not is_word


def _columns(line: str) -> list[str]:
    """Split a line at tabs or spaces. Other whitespace, such as U+00A0, is part of words."""
    line = line.rstrip(" \t\r\n")
    if "\t" in line:
        return [column.strip(" ") for column in line.split("\t")]
    return [column for column in line.split(" ") if column]


def _column_error(where: str, columns: list[str], first: str, width: int) -> InputError:
    """Return the error of a CoNLL line without a word, or whose number of columns is not ``width``."""
    if not columns[0]:
        return InputError(f"{where}: the line starts with a tab, so it has no word; add the word or remove the line")
    if len(columns) == 1:
        return InputError(
            f"{where}: the word {short_repr(columns[0])} has no tag, but {first} has one; add a tab and the tag"
        )
    if width == 1:
        return InputError(
            f"{where}: the word {short_repr(columns[0])} has a tag, but {first} has none; tag all words or none"
        )
    return InputError(
        f"{where}: {len(columns)} columns, but {first} has {width}; give every word the same columns, with the tag last"
    )
