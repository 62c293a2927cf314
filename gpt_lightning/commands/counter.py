"""Counter on standard error, for commands whose output goes to a file or a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def counter(
    verb: str, unit: str, *, total: int | None = None, prints: bool = True
) -> Iterator[Callable[[int, int], None]]:
    """Show how much is done, and the time left, while a terminal does not show the output itself.

    Args:
        verb: the work, such as ``generating``.
        unit: the unit that is counted, in the plural.
        total: number of parts of the work; None if it is unknown.
        prints: whether the output goes to standard output, where a terminal shows it.

    Yields:
        Function that adds to the count and to the number of parts that are done.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    text = TextColumn("{task.description}: {task.fields[count]:,} " + unit)
    bar = () if total is None else (BarColumn(), TimeRemainingColumn())
    is_shown = sys.stderr.isatty() and not (prints and sys.stdout.isatty())
    with Progress(
        SpinnerColumn(),
        text,
        *bar,
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not is_shown,
    ) as progress:
        task = progress.add_task(verb, total=total, count=0)
        counted = 0

        def advance(count: int, parts: int) -> None:
            nonlocal counted
            counted += count
            progress.update(task, advance=parts, count=counted)

        yield advance
