"""Template of a prompt with the names of columns in braces, such as ``Translate to French: {en}``."""

import string

from gpt_lightning.data.sources.row_formats import Row, short_repr
from gpt_lightning.data.sources.source import row_value
from gpt_lightning.errors import InputError

_KEY = "--data.template"


class ColumnTemplate:
    """Template that is filled with the values of a row.

    Args:
        text: the template; ``{{`` and ``}}`` stand for single braces.

    Raises:
        InputError: the braces do not match, or the template names no column.
    """

    def __init__(self, text: str) -> None:
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise InputError(
                f"{_KEY}={text!r}: {error}. Write a column as {{column}}, and {{{{ or }}}} for a brace"
            ) from None
        self._parts = [(literal, column) for literal, column, _, _ in parts]
        self.columns = list(dict.fromkeys(column for _, column in self._parts if column is not None))
        if not self.columns or "" in self.columns or any(form or conversion for _, _, form, conversion in parts):
            raise InputError(
                f"{_KEY}={text!r} must have the names of columns in braces, such as 'Translate to French: {{en}}'"
            )

    def fill(self, row: Row) -> str:
        """Return the text for a row.

        Raises:
            InputError: a column is missing, null, or neither a string nor a number, or all of them are empty.
        """
        values = {column: _text(row, column) for column in self.columns}
        if not any(value.strip() for value in values.values()):
            names = ", ".join(map(repr, self.columns))
            raise InputError(f"{row.where}: column {names} of the template is empty; fix or remove this row")
        return "".join(literal + ("" if column is None else values[column]) for literal, column in self._parts)


def _text(row: Row, column: str) -> str:
    value = row_value(row, column, _KEY)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(
            f"{row.where}: column {column!r} is {short_repr(value)}, not a text or a number; fix or remove this row"
        )
    return str(value)
