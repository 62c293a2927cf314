"""Thinning of long series and large grids, so that a page stays small."""

from collections.abc import Sequence
from itertools import groupby

from gpt_lightning.pages.scale import is_drawable

Point = tuple[float, float]


def drawable_runs(points: Sequence[Point]) -> list[list[Point]]:
    """Return the runs of consecutive points that can be drawn; NaN and infinite values separate them."""
    groups = groupby(points, key=lambda point: is_drawable(point[0]) and is_drawable(point[1]))
    return [[(float(x), float(y)) for x, y in group] for can_draw, group in groups if can_draw]


def thin(points: Sequence[Point], limit: int) -> list[Point]:
    """Return about ``limit`` points: of equal parts of the series, the ends, the lowest and the highest point.

    Peaks stay visible, unlike in a sample of every n-th point.
    """
    if len(points) <= max(limit, 4):
        return list(points)
    parts = max(limit // 4, 1)
    kept = set()
    for part in range(parts):
        indices = range(part * len(points) // parts, (part + 1) * len(points) // parts)
        kept |= {indices[0], indices[-1]}
        kept |= {min(indices, key=lambda index: points[index][1]), max(indices, key=lambda index: points[index][1])}
    return [points[index] for index in sorted(kept)]


def mean_blocks(rows: Sequence[Sequence[float]], block: int) -> list[list[float]]:
    """Return a grid of means over blocks of ``block x block`` cells, without the values that cannot be drawn."""
    return [
        [
            _mean([value for row in rows[top : top + block] for value in row[left : left + block]])
            for left in range(0, len(rows[top]), block)
        ]
        for top in range(0, len(rows), block)
    ]


def _mean(values: Sequence[float]) -> float:
    drawable = [value for value in values if is_drawable(value)]
    return sum(drawable) / len(drawable) if drawable else float("nan")
