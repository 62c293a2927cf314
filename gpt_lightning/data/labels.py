"""Label names: reading them, and checking the labels of rows against them."""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from gpt_lightning.data.sources.row_formats import short_repr, without_surrogates
from gpt_lightning.errors import InputError

_DIGITS: Final = 18  # Python refuses to read a number of thousands


def is_number(name: str) -> bool:
    """Whether a label is a whole number; one with more digits than anybody counts to is a text."""
    return name.isdecimal() and len(name) <= _DIGITS


def read_labels(labels: str | list[str]) -> tuple[str, ...]:
    """Label names from a list, or from a file: a JSON list, or one name a line.

    Raises:
        InputError: the file cannot be read, or a name is empty or there twice.
    """
    names = labels
    if isinstance(labels, str) and labels.startswith("["):
        names = yaml.load(labels, yaml.BaseLoader)  # strings only: [1, 2] are names, as is [yes, no]
    elif isinstance(labels, str):
        try:
            text = Path(labels).expanduser().read_text(encoding="utf-8-sig")
            is_json = text.lstrip().startswith("[")
            names = without_surrogates(json.loads(text)) if is_json else text.removesuffix("\n").split("\n")
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"--data.labels={labels}: cannot be read ({error}); give a list of names or a file"
            ) from None
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise InputError(f"--data.labels={labels}: label names must be strings, none empty, none twice")
    return tuple(names)


def label_name(value: Any, names: Sequence[str] | None, where: str, column: str) -> str:
    """The name of a label, which is a string or a number.

    Args:
        value: what the row has.
        names: all there are; None while they are being collected.
        where: the row.
        column: where the value is in it.

    Raises:
        InputError: it is no label, or none of ``names``.
    """
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise InputError(
            f"{where}: {column!r} is {short_repr(value)}, not a label (a string or a number); fix this row"
        )
    name = str(value)
    if names is None or name in names:
        return name
    # A number is a place among names only where no name is a number: stars of 1, 2 and 4 have no third.
    if is_number(name) and int(name) < len(names) and not any(map(is_number, names)):
        return names[int(name)]
    near = difflib.get_close_matches(name, names, n=1)
    known = f"did you mean {short_repr(near[0])}?" if near else f"there are {', '.join(map(short_repr, names[:10]))}"
    more = ", ..." if not near and len(names) > 10 else ""
    raise InputError(
        f"{where}: the label {short_repr(value)} is not one of the {len(names)} that the model has; {known}{more}"
    )
