"""Curve in the unit square as an image for loggers."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_SIZE: Final = 340
"""Pixels of a side. TensorBoard scales images above 350 pixels without smoothing."""
_LEFT, _TOP, _RIGHT, _BOTTOM = 46, 28, 326, 296
_INK, _PAPER, _GRID, _LINE = (30, 30, 30), (255, 255, 255), (214, 218, 227), (31, 111, 181)


def draw_curve(
    points: Sequence[tuple[float, float]], title: str, x_label: str, y_label: str, *, has_diagonal: bool
) -> NDArray[np.uint8]:
    """Draw a curve through points in the unit square.

    Args:
        points: (x, y) in order.
        title: text above the curve.
        x_label: text below the curve.
        y_label: text at the top of the vertical axis.
        has_diagonal: whether to draw the diagonal, as for reliability.

    Returns:
        (H, W, 3) red, green and blue.
    """
    picture = Image.new("RGB", (_SIZE, _SIZE), _PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=11)
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _pixel(tick, tick)
        pen.line([(_LEFT, y), (_RIGHT, y)], _GRID)
        pen.line([(x, _TOP), (x, _BOTTOM)], _GRID)
        pen.text((_LEFT - 6, y), f"{tick:g}", _INK, font, anchor="rm")
        pen.text((x, _BOTTOM + 6), f"{tick:g}", _INK, font, anchor="mt")
    pen.text((_LEFT, _TOP - 8), f"{title} ({y_label} upwards)", _INK, font, anchor="ls")
    pen.text(((_LEFT + _RIGHT) / 2, _BOTTOM + 22), x_label, _INK, font, anchor="mt")
    if has_diagonal:
        pen.line([_pixel(0, 0), _pixel(1, 1)], _INK)
    pixels = [_pixel(x, y) for x, y in points]
    pen.line(pixels, _LINE, width=2)
    for x, y in pixels if len(pixels) <= 20 else ():
        pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=_LINE)
    return np.asarray(picture)


def _pixel(x: float, y: float) -> tuple[float, float]:
    return _LEFT + x * (_RIGHT - _LEFT), _BOTTOM - y * (_BOTTOM - _TOP)
