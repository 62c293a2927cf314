"""Text whose pieces are colored by a value, such as an attribution or a loss."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from gpt_lightning.pages.blocks import fold
from gpt_lightning.pages.scale import is_drawable
from gpt_lightning.pages.tables import table
from gpt_lightning.pages.text import escape_forbidden, format_number

MAX_PIECES: Final = 5_000
"""Pieces of a text on a page."""


def colored_text(
    pieces: Sequence[str], values: Sequence[float], *, notes: Sequence[str] | None = None, diverging: bool = True
) -> Markup:
    """Return text with a background and an underline by the value of each piece, and a table of the values.

    The underline is thicker the larger the absolute value is, solid for positive and dashed for negative values, so
    that the text is readable without color.

    Args:
        pieces: parts of the text in order, such as decoded tokens.
        values: a number for each piece; NaN and infinity leave a piece plain.
        notes: a tooltip for each piece, which the table repeats.
        diverging: whether negative values have a color of their own. Without it, the color grows from the lowest value
            to the highest.
    """
    notes = [""] * len(pieces) if notes is None else notes
    shown = list(zip(pieces, values, notes, strict=True))[:MAX_PIECES]
    drawable = [value for value in values if is_drawable(value)]
    low = 0.0 if diverging else min(drawable, default=0.0)
    width = max((abs(value - low) for value in drawable), default=0.0)
    spans = Markup("").join(_span(*each, low, width) for each in shown)
    rows = [
        (escape_forbidden(piece).replace("\n", "↵"), value, *([note] if any(notes) else []))
        for piece, value, note in shown
    ]
    text = Markup('<p class="pieces">{}</p>').format(spans) + _legend(drawable, diverging)
    if len(pieces) > MAX_PIECES:
        text += Markup('<p class="note">The first {:,} of {:,} pieces are shown.</p>').format(MAX_PIECES, len(pieces))
    columns = ["Piece", "Value", *(["Note"] if any(notes) else [])]
    return Markup('<div class="colored">{}{}</div>').format(text, fold("Values", table(columns, rows)))


def _span(piece: str, value: float, note: str, low: float, width: float) -> Markup:
    tip = format_number(value) + (f": {escape_forbidden(note)}" if note else "")
    text = escape_forbidden(piece).replace("\n", "↵\n")
    if not is_drawable(value):
        return Markup('<span title="{}">{}</span>').format(tip, text)
    strength = abs(value - low) / width if width else 0.0
    sign = "negative" if value < low else "positive"
    color = f"color-mix(in srgb,var(--{sign}) {45 * strength:.0f}%,transparent)"
    style = f"background:{color};border-bottom-width:{_thickness(strength)}px"
    return Markup('<span class="{}" style="{}" title="{}">{}</span>').format(sign, style, tip, text)


def _thickness(strength: float) -> int:
    """Return the pixels of an underline: none below a tenth of the largest value, 4 for the largest."""
    return 0 if strength < 0.1 else 1 + round(3 * strength)


def _legend(values: Sequence[float], diverging: bool) -> Markup:
    if not values:
        return Markup('<p class="note">No piece has a value.</p>')
    low, high = format_number(min(values)), format_number(max(values))
    if not diverging:
        kind = "Darker and a thicker underline: larger value."
    else:
        kind = "Solid underline: positive. Dashed underline: negative. Darker and thicker: larger absolute value."
    return Markup('<p class="note">Values from {} to {}. {}</p>').format(low, high, kind)
