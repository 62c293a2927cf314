"""Best-fit packing of sequences into rows of a fixed length (Ding et al. 2024, arXiv:2404.10830)."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Return the indices of the sequences in each row.

    The longest sequence comes first. Each one is put into the row with the least free space that is enough for it. No
    sequence is split.

    Args:
        lengths: number of tokens of each sequence, at most ``capacity``.
        capacity: number of tokens of a row.
    """
    rows: list[list[int]] = []
    spaces: list[int] = []  # the distinct numbers of free tokens, sorted
    rows_with: dict[int, list[int]] = {}
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        place = bisect_left(spaces, lengths[number])
        if place == len(spaces):
            row, space = len(rows), capacity
            rows.append([])
        else:
            space = spaces[place]
            row = rows_with[space].pop()
            if not rows_with[space]:
                del rows_with[space], spaces[place]
        rows[row].append(number)
        rest = space - lengths[number]
        if rest not in rows_with:
            rows_with[rest] = []
            insort(spaces, rest)
        rows_with[rest].append(row)
    return rows
