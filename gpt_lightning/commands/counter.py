"""Progress on standard error: a counter for output that goes to a file or a pipe, and a bar with the time left."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def counter(verb: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Show how much is done if only standard error is a terminal. The counter disappears at the end.

    Args:
        verb: the work, such as ``generating``.
        unit: the unit that is counted, in the plural.

    Yields:
        Function that adds to the count.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}: {task.completed:,.0f} " + unit), TimeElapsedColumn()
    is_shown = sys.stderr.isatty() and not sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not is_shown) as progress:
        task = progress.add_task(verb, total=None)
        yield lambda count: progress.advance(task, count)


@contextmanager
def progress_bar(verb: str) -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    """Show bars with the time left if standard error is a terminal. They disappear at the end.

    Args:
        verb: the work, such as ``reading``.

    Yields:
        Function that adds a bar for a part of the work and its size, and returns a function that adds to what is done.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn(f"{verb} {{task.description}}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:

        def add(part: str, size: int) -> Callable[[int], None]:
            task = progress.add_task(part, total=size)
            return lambda count: progress.advance(task, count)

        yield add
