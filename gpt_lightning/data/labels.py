"""Readers of label names, and of the labels of rows."""

import ast
import difflib
import io
import json
import math
import re
import tokenize
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final, NamedTuple, Protocol

import yaml

from gpt_lightning.data.sources.class_labels import ClassName
from gpt_lightning.data.sources.row_formats import short_repr, without_surrogates
from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home

_INDEX: Final = re.compile(r"[0-9]{1,18}")  # Python cannot convert strings of thousands of digits
_WHOLE_FLOAT: Final = re.compile(r"(-?[0-9]{1,18})\.0+")
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
BLANKS: Final = "".join(
    character
    for character in map(chr, (*range(0x100), 0x1680, *range(0x2000, 0x2070), 0x3000, 0xFEFF))
    if character.isspace() or unicodedata.category(character) == "Cf"
)
"""Characters around a label that do not belong to it, because they are invisible: whitespace and marks of format."""
_HEADERS: Final = ("label", "labels")
_MAX_COMPARED: Final = 1000
"""Number of names that an unknown label is compared with, as every comparison takes time."""
_MAX_CELL: Final = 100_000
"""Length of the longest cell that is read as a list."""


def clean_name(name: str) -> str:
    """Return a label without whitespace around it, ``1.0`` as ``1`` and ``True`` as ``true``.

    The same table has both spellings as CSV and as JSON.
    """
    text = name.strip(BLANKS)
    if whole := _WHOLE_FLOAT.fullmatch(text):
        return str(int(whole[1]))
    return text.lower() if text.lower() in ("true", "false") else text


def canonical(name: str) -> str:
    """Return a string that is the same for all spellings of a label, whatever its Unicode normalization."""
    return unicodedata.normalize("NFC", clean_name(name))


def sort_labels(names: set[str]) -> list[str]:
    """Return label names in order: numbers by value, then all others by their characters."""
    return sorted(names, key=lambda name: (0, Decimal(name), name) if _NUMBER.fullmatch(name) else (1, Decimal(), name))


def read_labels(labels: str | list[str]) -> tuple[str, ...]:
    """Return label names from a list, or from a file with one name per line, a JSON list, or a JSON object.

    Raises:
        InputError: the file cannot be read or has a header, a name is empty, duplicate or not a string, or the numbers
            in an object are not 0, 1, 2 and so on.
    """
    names = labels
    if isinstance(labels, str) and labels.startswith("["):
        names = yaml.load(labels, yaml.BaseLoader)  # BaseLoader keeps all values as strings, also in [1, 2] or [yes]
    elif isinstance(labels, str):
        try:
            text = expand_home(labels).read_text(encoding="utf-8-sig")
            is_json = text.lstrip().startswith(("[", "{"))
            names = without_surrogates(json.loads(text)) if is_json else text.removesuffix("\n").split("\n")
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"--data.labels={labels}: cannot be read ({error}); set it to a list of names or to a file"
            ) from None
        names = _in_order(names, labels) if isinstance(names, dict) else names
        if not is_json and clean_name(names[0]).casefold() in _HEADERS:
            raise InputError(
                f"--data.labels={labels}: the first line is {names[0]!r}, like a header. Remove it, or write a "
                "JSON list if it is a label"
            )
    is_filled = all(isinstance(name, str) and name.strip(BLANKS) for name in names)
    if not names or not is_filled or len(set(names)) < len(names):
        raise InputError(
            f"--data.labels={labels}: label names must be non-empty strings without duplicates; fix the list"
        )
    seen: dict[str, str] = {}
    for name in names:
        if (first := seen.setdefault(canonical(name), name)) != name:
            raise InputError(f"--data.labels: {first!r} and {name!r} are the same label; remove one of them")
    return tuple(name.strip(BLANKS) for name in names)


def _in_order(names: dict[str, Any], labels: str) -> list[Any]:
    """Return the names in a JSON object: number -> name, or name -> number.

    Raises:
        InputError: the numbers are not 0, 1, 2 and so on.
    """
    by_number = names if all(map(_INDEX.fullmatch, names)) else {str(number): name for name, number in names.items()}
    expected = [str(number) for number in range(len(names))]
    if sorted(by_number) != sorted(expected):
        raise InputError(
            f'--data.labels={labels}: a JSON object must name each number from 0, as in {{"0": "bad", "1": "good"}}. '
            "Fix the file, or write a list of names"
        )
    return [by_number[number] for number in expected]


def _joins_strings(text: str) -> bool:
    """Return whether two strings follow each other without a comma, which Python would join.

    NumPy writes lists of strings like this.
    """
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    kinds = [each.type for each in tokens if each.type not in (tokenize.NL, tokenize.NEWLINE)]
    return any(kind == following == tokenize.STRING for kind, following in pairwise(kinds))


def read_list(cell: str, where: str, column: str) -> list[Any]:
    """Return the labels in a cell: a list as in JSON or Python, or names separated by ``|``.

    Raises:
        InputError: the cell starts like a list, but is none.
    """
    text = cell.strip(BLANKS)
    if not text.startswith("["):
        return text.split("|") if text else []
    value: Any = None
    if len(text) <= _MAX_CELL:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            try:
                value = None if _joins_strings(text) else ast.literal_eval(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
                value = None
    if not isinstance(value, list):
        raise InputError(
            f'{where}: column {column!r} is {short_repr(cell)}, which is not a list like ["a", "b"]; fix this row'
        )
    return value


class LabelReader:
    """Reader of the labels of rows.

    Args:
        names: all label names; None accepts every label.
        by_number: names in the order of the numbers that rows may have in their place; None if numbers are names.
            Where one of these names is a number, numbers are always names: with the stars 1, 2 and 4, 3 is unknown.
    """

    def __init__(self, names: Sequence[str] | None, by_number: Sequence[str] | None = None) -> None:
        self.names = names
        self._by_number = () if by_number is None or any(map(_INDEX.fullmatch, by_number)) else by_number
        # A name as it is spelled comes first: models that were trained before may tell "1" from "1.0".
        self._known = {canonical(name): name for name in reversed(names or ())} | {name: name for name in names or ()}

        self._first_vector: str | None = None
        """Location of the first row with 0 or 1 for each label."""
        self._first_numbers: str | None = None
        """Location of the first row with numbers of labels."""

    def read(self, value: Any, where: str, column: str) -> str:
        """Return the name of a label.

        Args:
            value: the label of a row: a string, a number or a boolean.
            where: location of the row, for messages.
            column: column of the label, for messages.

        Raises:
            InputError: the value is not a label, or an unknown one.
        """
        spelled = _spelling(value, where, column)
        name = canonical(spelled)
        if self.names is None:
            return self._known.setdefault(name, clean_name(spelled))
        found = self._known.get(spelled, self._known.get(name))
        if found is None and _INDEX.fullmatch(name) and int(name) < len(self._by_number):
            found = self._known.get(self._by_number[int(name)])
        if found is None and isinstance(value, ClassName):  # the user names the numbers of a column differently
            return self.read(value.number, where, column)
        if found is None:
            raise self._unknown_label(value, where, is_index=_INDEX.fullmatch(name) is not None)
        return found

    def read_set(self, values: list[Any], where: str, column: str) -> tuple[str, ...]:
        """Return the labels of a row that may have several: names, numbers, or 0 and 1 for each of ``by_number``.

        Raises:
            InputError: a value is not a label, an unknown one, or the same as another; or lists of 0 and 1 may be
                numbers of labels, too.
        """
        texts = [canonical(str(value)) for value in values]
        is_vector = bool(values) and set(texts) <= {"0", "1"} and (len(values) > 1 or len(self._by_number) == 1)
        if is_vector and len(values) == len(self._by_number):
            values = [name for name, text in zip(self._by_number, texts, strict=True) if text == "1"]
            self._first_vector = self._first_vector or where
            other = self._first_numbers
        elif self._by_number and texts and all(map(_INDEX.fullmatch, texts)):
            self._first_numbers = self._first_numbers or where
            other = self._first_vector
        else:
            other = None
        if other is not None:
            raise InputError(
                f"{where}: column {column!r} has numbers of labels here and 0 or 1 for each label in {other}, or the "
                "other way round. Write the names of the labels"
            )
        names = tuple(self.read(value, where, column) for value in values)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            hint = ". If the list has 0 or 1 for each label, name them in order with --data.labels=[a,b,c]" * is_vector
            raise InputError(f"{where}: column {column!r} has the label {short_repr(twice)} twice; fix this row{hint}")
        return names

    def _unknown_label(self, value: Any, where: str, is_index: bool) -> InputError:
        names = list(self.names or ())
        near = difflib.get_close_matches(str(value), names[:_MAX_COMPARED], n=1)
        listed = ", ".join(map(short_repr, names[:10])) + ", ..." * (len(names) > 10)
        hint = f"did you mean {short_repr(near[0])}?" if near else f"use one of {listed}"
        may_be_place = is_index and not self._by_number and not near and not any(map(_INDEX.fullmatch, names))
        by_number = ". If numbers stand for labels, set --data.labels to their names in that order" * may_be_place
        return InputError(
            f"{where}: the label {short_repr(value)} is not one of the {len(names)} labels of the model; "
            f"{hint}{by_number}"
        )


def _spelling(value: Any, where: str, column: str) -> str:
    """Return a label as a string.

    Raises:
        InputError: the value is not a label.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, int) or (isinstance(value, str) and value.strip(BLANKS)):
        return str(value)
    raise InputError(
        f"{where}: column {column!r} is {short_repr(value)}, not a label (a string, a number or a boolean); fix this "
        "row"
    )


class SavedLabels(NamedTuple):
    """Labels of a trained model.

    They pass through the command line as JSON, because jsonargparse copies a list once for each of its items.
    """

    names: list[str]
    """Labels in the order of the model's outputs."""
    are_numbered: bool = False
    """True if the user gave this order, so that numbers in rows stand for labels."""

    def to_json(self) -> str:
        """Return the labels as JSON."""
        return json.dumps(self._asdict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "SavedLabels":
        """Read labels from JSON.

        Raises:
            InputError: they are not what ``to_json`` writes.
        """
        try:
            saved = cls(**json.loads(text))
        except (TypeError, ValueError, RecursionError):
            saved = cls([])
        is_list = isinstance(saved.names, list) and all(isinstance(name, str) for name in saved.names)
        if not is_list or not saved.names:
            raise InputError("--data.model_labels cannot be read. Leave it out; it comes from the checkpoint")
        return saved


class _HasLabels(Protocol):
    """Data module with label names."""

    given_labels: str | list[str] | None
    saved_labels: SavedLabels | None

    @property
    def labels(self) -> list[str]: ...


def label_reader(module: _HasLabels, *, collects: bool) -> LabelReader:
    """Return the reader of a data module's rows.

    Args:
        module: the data module.
        collects: True for rows whose labels become the names if none are given or saved.
    """
    given, saved = module.given_labels, module.saved_labels
    names = None if collects and given is None and saved is None else module.labels
    if given is None and saved is not None and saved.are_numbered:
        return LabelReader(names, saved.names)
    return LabelReader(names, None if given is None else read_labels(given))


def label_name(value: Any, names: Sequence[str] | None, where: str, column: str) -> str:
    """Return the name of one label, as ``LabelReader.read``; ``names`` are all label names, or None to accept any."""
    return LabelReader(names).read(value, where, column)
