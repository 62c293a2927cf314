"""Counter on standard error, for commands whose output goes to a file or a pipe."""

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
