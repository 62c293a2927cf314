"""Tables of aligned text, which stay readable in a pipe, and the same in Markdown."""

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]], num_left: int | None = None) -> list[str]:
    """Return the lines of a table whose columns are separated by two spaces.

    Args:
        rows: cells of each row, the header first.
        num_left: number of columns that are aligned on the left, before those on the right; None means all.
    """
    return ["  ".join(row).rstrip() for row in _aligned(rows, num_left)]


def markdown_table(rows: Sequence[Sequence[str]], num_left: int | None = None) -> str:
    """Return an aligned Markdown table.

    Args:
        rows: cells of each row, the header first.
        num_left: number of columns that are aligned on the left, before those on the right; None means all.
    """
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    header, *body = _aligned(escaped, num_left, min_width=3)
    num_left = len(header) if num_left is None else num_left
    rule = ["-" * len(cell) if place < num_left else "-" * (len(cell) - 1) + ":" for place, cell in enumerate(header)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *body))


def _aligned(rows: Sequence[Sequence[str]], num_left: int | None, min_width: int = 0) -> list[list[str]]:
    """Return the cells, each on one line, padded to the width of their column."""
    cells = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(min_width, *map(len, column)) for column in zip(*cells, strict=True)]
    return [
        [
            cell.ljust(width) if num_left is None or place < num_left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in cells
    ]
