"""HTML tables."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from markupsafe import Markup

from gpt_lightning.pages.text import escape_forbidden, format_number, shorten

MAX_ROWS: Final = 2_000
"""Rows of a table on a page; more make it slow to open."""
MAX_LENGTH: Final = 5_000
"""Characters of a cell."""


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Markup:
    """Return an HTML table. Numbers are aligned to the right, None is a dash, and markup is kept.

    Args:
        columns: heads of the columns.
        rows: one value for each column; numbers have four significant digits.
    """
    shown = rows[:MAX_ROWS]
    numeric = [bool(shown) and all(_is_number(row[index]) for row in shown) for index in range(len(columns))]
    head = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(_class(is_number), escape_forbidden(column))
        for column, is_number in zip(columns, numeric, strict=True)
    )
    body = Markup("\n").join(Markup("<tr>{}</tr>").format(Markup("").join(map(_cell, row))) for row in shown)
    content = Markup(
        '<div class="table" tabindex="0"><table><thead><tr>{}</tr></thead>\n<tbody>{}</tbody></table></div>'
    ).format(head, body)
    if len(rows) > MAX_ROWS:
        content += Markup('<p class="note">The first {:,} of {:,} rows are shown.</p>').format(MAX_ROWS, len(rows))
    return content


def _cell(value: object) -> Markup:
    return Markup("<td{}>{}</td>").format(_class(_is_number(value)), _content(value))


def _class(is_number: bool) -> Markup:
    return Markup(' class="number"') if is_number else Markup("")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _content(value: object) -> Markup | str:
    if isinstance(value, Markup):
        return value
    if value is None:
        return "–"
    if isinstance(value, int) and (isinstance(value, bool) or abs(value) >= 2**53):
        return str(value)
    if isinstance(value, int | float | np.number):
        return format_number(float(value))
    return escape_forbidden(shorten(str(value), MAX_LENGTH))
