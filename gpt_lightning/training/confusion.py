"""A confusion matrix as an image."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# L labels, H and W pixels
COUNTED = 12
"""So many labels leave room for a number in each cell."""

NAMED = 40
"""So many leave room for their names."""

LARGEST = 800
"""Pixels of the largest map; of more labels than that several share a pixel."""

LONGEST_NAME = 28
MARGIN = 8
INK, PAPER, DARK = (30, 30, 30), (255, 255, 255), (8, 48, 107)


def draw(matrix: Tensor, names: Sequence[str]) -> NDArray[np.uint8]:
    """A heat map: each cell is as dark as its share of the row.

    Args:
        matrix: (L, L) counts, a row for each true label, a column for each predicted one.
        names: of the L labels, in their order.

    Returns:
        (H, W, 3) red, green and blue.
    """
    if matrix.shape != (len(names), len(names)):
        raise ValueError(f"a matrix of {tuple(matrix.shape)} for {len(names)} names")
    font = ImageFont.load_default(size=12)
    shown = [_one_line(name) for name in names] if len(names) <= NAMED else []
    counts = _merged(matrix.cpu(), -(-len(names) // LARGEST))
    cell = _cell(len(counts))
    widest = max((int(font.getlength(name)) for name in shown), default=0)
    caption = "rows: true, columns: predicted; as dark as the share of the row"
    corner = widest + 2 * MARGIN
    side = cell * len(counts)
    width = max(corner + side, int(font.getlength(caption)) + MARGIN) + MARGIN
    picture = Image.new("RGB", (width, corner + side + 4 * MARGIN), PAPER)
    pen = ImageDraw.Draw(picture)

    shades = _shades(counts)
    cells = np.array(PAPER) + shades[..., None] * (np.array(DARK) - np.array(PAPER))
    enlarged = cells.round().astype(np.uint8).repeat(cell, axis=0).repeat(cell, axis=1)
    picture.paste(Image.fromarray(enlarged), (corner, corner))
    pen.rectangle((corner - 1, corner - 1, corner + side, corner + side), outline=INK)
    pen.text((MARGIN, corner + side + MARGIN), caption, INK, font)

    for number, name in enumerate(shown):
        middle = corner + cell * number + cell // 2
        pen.text((corner - MARGIN, middle), name, INK, font, anchor="rm")
        picture.paste(*_upright(name, font, at=(middle, corner - MARGIN)))
    if len(names) <= COUNTED:
        for row, column in counts.nonzero().tolist():
            place = (corner + cell * column + cell // 2, corner + cell * row + cell // 2)
            ink = PAPER if shades[row, column] > 0.5 else INK
            pen.text(place, _short(int(counts[row, column])), ink, font, anchor="mm")
    return np.asarray(picture)


def _cell(num_cells: int) -> int:
    """Pixels of a cell's side."""
    if num_cells <= COUNTED:
        return 48
    return 18 if num_cells <= NAMED else max(1, LARGEST // num_cells)


def _merged(matrix: Tensor, factor: int) -> Tensor:
    """The sums of squares of ``factor`` by ``factor`` cells."""
    missing = -len(matrix) % factor
    padded = F.pad(matrix, (0, missing, 0, missing))
    side = len(padded) // factor
    return padded.view(side, factor, side, factor).sum((1, 3))


def _shades(counts: Tensor) -> NDArray[np.float64]:
    """(L, L) in [0, 1]: the root of each cell's share of its row, so that rare confusions show too."""
    shares = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
    roots: NDArray[np.float64] = torch.sqrt(shares).numpy()
    return roots


def _upright(
    name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, at: tuple[int, int]
) -> tuple[tuple[int, int, int], tuple[int, int], Image.Image]:
    """What ``paste`` takes to write from ``at`` upwards: a colour, where, and which pixels get it."""
    mask = Image.new("L", (int(font.getlength(name)) + 1, 18))
    ImageDraw.Draw(mask).text((0, 9), name, 255, font, anchor="lm")
    turned = mask.transpose(Image.Transpose.ROTATE_90)
    return INK, (at[0] - turned.width // 2, at[1] - turned.height), turned


def _one_line(name: str) -> str:
    """The name without line breaks, and not too long."""
    line = " ".join(name.split())
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"


def _short(count: int) -> str:
    """A count in six characters at most: 99999, 123k, 45M."""
    for size, unit in ((1, ""), (1_000, "k"), (1_000_000, "M")):
        if count < 100_000 * size:
            return f"{count // size}{unit}"
    return f"{count // 1_000_000_000}G"
