"""Thinning of long series and large grids, so that a page stays small."""

from collections.abc import Sequence
from itertools import groupby

from gpt_lightning.pages.scale import is_drawable

Point = tuple[float, float]


def drawable_runs(points: Sequence[Point]) -> list[list[Point]]:
    """Return the runs of consecutive points that can be drawn; NaN and infinite values separate them."""
    groups = groupby(points, key=lambda point: is_drawable(point[0]) and is_drawable(point[1]))
    return [[(float(x), float(y)) for x, y in group] for can_draw, group in groups if can_draw]


def thinned_indices(values: Sequence[float], limit: int) -> list[int]:
    """Return about ``limit`` indices: in equal parts of the series, the ends, the lowest and the highest value.

    Peaks stay visible, unlike in a sample of every n-th value.
    """
    if len(values) <= max(limit, 4):
        return list(range(len(values)))
    parts = max(limit // 4, 1)
    kept = set()
    for part in range(parts):
        indices = range(part * len(values) // parts, (part + 1) * len(values) // parts)
        kept |= {indices[0], indices[-1], min(indices, key=values.__getitem__), max(indices, key=values.__getitem__)}
    return sorted(kept)


def thin_runs(runs: Sequence[Sequence[Point]], limit: int) -> list[list[Point]]:
    """Return runs with about ``limit`` points in total, thinned as if they were one series.

    Runs of which no point is left are dropped.
    """
    numbered = [(number, point) for number, run in enumerate(runs) for point in run]
    kept: dict[int, list[Point]] = {}
    for index in thinned_indices([y for _, (_, y) in numbered], limit):
        number, point = numbered[index]
        kept.setdefault(number, []).append(point)
    return list(kept.values())


def mean_blocks(rows: Sequence[Sequence[float]], num_rows: int, num_columns: int) -> list[list[float]]:
    """Return a grid of means over blocks of ``num_rows x num_columns`` cells.

    Values that cannot be drawn do not count.
    """
    return [
        [
            _mean([value for row in rows[top : top + num_rows] for value in row[left : left + num_columns]])
            for left in range(0, len(rows[top]), num_columns)
        ]
        for top in range(0, len(rows), num_rows)
    ]


def _mean(values: Sequence[float]) -> float:
    drawable = [value for value in values if is_drawable(value)]
    return sum(drawable) / len(drawable) if drawable else float("nan")
