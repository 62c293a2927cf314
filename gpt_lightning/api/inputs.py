"""Checks of the texts and rows that users pass."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpt_lightning.data.sources.row_formats import short_repr, without_surrogates
from gpt_lightning.errors import InputError


def list_of_texts(texts: Sequence[str], noun: str = "texts") -> list[str]:
    """Return the texts as a list, without surrogates, which UTF-8 cannot encode.

    Raises:
        InputError: it is a single string, or an element is not a string; ``noun`` names the texts in the message.
    """
    if isinstance(texts, str):
        raise InputError(f"give a list of {noun}, not a string: [text]")
    found = list(texts) if isinstance(texts, Iterable) else [texts]
    if not (isinstance(texts, Iterable) and all(isinstance(text, str) for text in found)):
        wrong = next(text for text in found if not isinstance(text, str))
        raise InputError(f"give a list of {noun}; {short_repr(wrong)} is not a string")
    return [without_surrogates(text) for text in found]


def list_of_rows(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows as a list.

    Raises:
        InputError: it is not a collection of dictionaries.
    """
    found = list(rows) if isinstance(rows, Iterable) else [rows]
    if not all(isinstance(row, Mapping) for row in found):
        raise InputError('rows must be a list of dicts, such as [{"text": "great film"}]')
    return found


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the rows as JSON lines.

    Raises:
        InputError: a value has no JSON.
    """
    try:
        return "".join(json.dumps(dict(row)) + "\n" for row in rows)
    except (TypeError, ValueError) as error:
        raise InputError(f"a row has a value that JSON lacks ({error}). Use texts, numbers and lists") from None
