"""Confusion matrix as an image.

L labels, K shown labels, H and W pixels.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

MAX_LABELS: Final = 30
"""Number of labels whose names and counts are readable in one image."""

MATRIX_PIXELS: Final = 900
"""Largest side of the matrix itself."""

CELL_PIXELS: Final = (30, 40)
"""Smallest and largest side of a cell."""

MAX_NAME_LENGTH: Final = 28
MARGIN: Final = 8
INK: Final = (30, 30, 30)
PAPER: Final = (255, 255, 255)
DARK: Final = (8, 48, 107)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw(matrix: Tensor, names: Sequence[str]) -> NDArray[np.uint8]:
    """Draw a heat map of the counts, in which each cell is as dark as its share of the row.

    With more than ``MAX_LABELS`` labels, the image shows those with the most errors, and its title says how many there
    are. The shares are still those of complete rows.

    Args:
        matrix: (L, L) counts, a row for each true label, a column for each predicted one.
        names: names of the L labels, in the same order.

    Returns:
        (H, W, 3) red, green and blue.
    """
    if matrix.shape != (len(names), len(names)):
        raise ValueError(f"the matrix has shape {tuple(matrix.shape)}, but there are {len(names)} names")
    matrix = matrix.cpu()
    chosen = most_confused(matrix)
    counts, shades = matrix[chosen][:, chosen], _shades(matrix)[chosen][:, chosen]
    labels = [_one_line(names[index]) for index in chosen.tolist()]
    font, small = ImageFont.load_default(size=12), ImageFont.load_default(size=10)
    # Short lines: TensorBoard scales images above 350 pixels without smoothing, which makes text hard to read.
    lines = [*title(matrix, len(labels)), "rows: true, columns: predicted label", "shade: share of the row"]

    cell = min(max(MATRIX_PIXELS // len(labels), CELL_PIXELS[0]), CELL_PIXELS[1])
    side = cell * len(labels)
    corner = max(int(font.getlength(label)) for label in labels) + 2 * MARGIN
    top = corner + 2 * MARGIN * len(lines) + MARGIN  # below the lines and the upright names
    width = max(corner + side, *(int(font.getlength(line)) + MARGIN for line in lines)) + MARGIN
    picture = Image.new("RGB", (width, top + side + MARGIN), PAPER)
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        pen.text((MARGIN, MARGIN + 2 * MARGIN * number), line, INK, font)

    colors = np.array(PAPER) + shades.numpy()[..., None] * (np.array(DARK) - np.array(PAPER))
    enlarged = colors.round().astype(np.uint8).repeat(cell, axis=0).repeat(cell, axis=1)
    picture.paste(Image.fromarray(enlarged), (corner, top))
    pen.rectangle((corner - 1, top - 1, corner + side, top + side), outline=INK)

    for number, label in enumerate(labels):
        middle = cell * number + cell // 2
        pen.text((corner - MARGIN, top + middle), label, INK, font, anchor="rm")
        picture.paste(*_rotated_text(label, font, at=(corner + middle, top - MARGIN)))
    for row, column in counts.nonzero().tolist():
        place = (corner + cell * column + cell // 2, top + cell * row + cell // 2)
        ink = PAPER if shades[row, column] > 0.5 else INK
        pen.text(place, _short_number(int(counts[row, column])), ink, small, anchor="mm")
    return np.asarray(picture)


def most_confused(matrix: Tensor) -> Tensor:
    """Return the indices of the ``MAX_LABELS`` labels with the most errors, in ascending order: (K,) int64."""
    # Label i has the errors of its row and its column.
    errors = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
    return errors.argsort(descending=True, stable=True)[:MAX_LABELS].sort().values


def title(matrix: Tensor, num_shown: int) -> list[str]:
    """Return the lines of the title for an image of ``num_shown`` of the (L, L) labels."""
    total, errors = int(matrix.sum()), int(matrix.sum() - matrix.trace())
    shown = [] if num_shown == len(matrix) else [f"the {num_shown} of {len(matrix)} labels with the most errors"]
    return [f"{errors:,} of {total:,} rows misclassified", *shown]


def _shades(counts: Tensor) -> Tensor:
    """Return the square root of each cell's share of its row, (L, L) in [0, 1]; the root keeps rare errors visible."""
    return torch.sqrt(counts.double() / counts.sum(1, keepdim=True).clamp(min=1))


def _rotated_text(
    name: str, font: Font, at: tuple[int, int]
) -> tuple[tuple[int, int, int], tuple[int, int], Image.Image]:
    """Return the arguments of ``paste`` that write a name upwards from a point: color, corner and mask."""
    mask = Image.new("L", (int(font.getlength(name)) + 1, 18))
    ImageDraw.Draw(mask).text((0, 9), name, 255, font, anchor="lm")
    turned = mask.transpose(Image.Transpose.ROTATE_90)
    return INK, (at[0] - turned.width // 2, at[1] - turned.height), turned


def _one_line(name: str) -> str:
    """Return a name without line breaks, shortened to ``MAX_NAME_LENGTH`` characters."""
    line = " ".join(name.split())
    return line if len(line) <= MAX_NAME_LENGTH else f"{line[: MAX_NAME_LENGTH - 1]}…"


def _short_number(count: int) -> str:
    """Format a count in at most four characters: 9999, 123k, 45M."""
    for size, unit in ((1, ""), (1_000, "k"), (1_000_000, "M")):
        if count < (10_000 if size == 1 else 1_000 * size):
            return f"{count // size}{unit}"
    return f"{count // 1_000_000_000}G"
