"""Readers of label names, and validation of the labels of rows."""

import difflib
import json
from collections.abc import Sequence
from typing import Any, Final

import yaml

from gpt_lightning.data.sources.class_labels import ClassName
from gpt_lightning.data.sources.row_formats import short_repr, without_surrogates
from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home

_MAX_DIGITS: Final = 18  # Python cannot convert strings of thousands of digits


def is_number(name: str) -> bool:
    """Return whether a label is a whole number of at most 18 digits."""
    return name.isdecimal() and len(name) <= _MAX_DIGITS


def read_labels(labels: str | list[str]) -> tuple[str, ...]:
    """Return label names from a list, or from a file with a JSON list or one name per line.

    Raises:
        InputError: the file cannot be read, or a name is empty, duplicate or not a string.
    """
    names = labels
    if isinstance(labels, str) and labels.startswith("["):
        names = yaml.load(labels, yaml.BaseLoader)  # BaseLoader keeps all values as strings, also in [1, 2] or [yes]
    elif isinstance(labels, str):
        try:
            text = expand_home(labels).read_text(encoding="utf-8-sig")
            is_json = text.lstrip().startswith("[")
            names = without_surrogates(json.loads(text)) if is_json else text.removesuffix("\n").split("\n")
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"--data.labels={labels}: cannot be read ({error}); set it to a list of names or to a file"
            ) from None
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise InputError(
            f"--data.labels={labels}: label names must be non-empty strings without duplicates; fix the list"
        )
    return tuple(names)


def label_name(value: Any, names: Sequence[str] | None, where: str, column: str) -> str:
    """Return the name of a label.

    Args:
        value: the label of a row: a name or, if no name is a number, the number of a name, from 0.
        names: all label names; None accepts every label.
        where: location of the row, for messages.
        column: column of the label, for messages.

    Raises:
        InputError: the value is not a label, or not one of ``names``.
    """
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise InputError(
            f"{where}: column {column!r} is {short_repr(value)}, not a label (a string or a whole number); fix this row"
        )
    name = str(value)
    if names is None or name in names:
        return name
    if isinstance(value, ClassName):  # the user names the numbers of a class-label column differently
        return label_name(value.number, names, where, column)
    # If names are numbers, a number is never an index: with the stars 1, 2 and 4, the label 3 is unknown.
    if is_number(name) and int(name) < len(names) and not any(map(is_number, names)):
        return names[int(name)]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {short_repr(near[0])}?" if near else f"use one of {', '.join(map(short_repr, names[:10]))}"
    more = ", ..." if not near and len(names) > 10 else ""
    raise InputError(
        f"{where}: the label {short_repr(value)} is not one of the {len(names)} labels of the model; {hint}{more}"
    )
