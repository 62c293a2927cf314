"""Paths that users type."""

from pathlib import Path


def expand_home(path: str | Path) -> Path:
    """Return the path with ``~`` or ``~user`` expanded, or unchanged if the user does not exist.

    ``Path.expanduser`` raises ``RuntimeError`` for a text such as ``~5 days``, which may be a value and no path.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
