"""Hardest examples of a validation epoch, as Markdown."""

import heapq
import itertools
from collections.abc import Callable
from typing import Final

_MARKS: Final = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\`*_{}[]()#+-.!|"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)


class HardestExamples:
    """Bounded collection of the most severe errors, each a piece of Markdown.

    Args:
        size: maximum number of errors to keep.
    """

    def __init__(self, size: int = 20) -> None:
        self.size = size
        self._heap: list[tuple[float, int, str]] = []
        self._counter = itertools.count()  # breaks ties: the earlier error stays, and texts are never compared

    def add(self, severity: float, text: Callable[[], str]) -> None:
        """Add an error; ``text`` is called only if the error is kept."""
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, (severity, -next(self._counter), text()))
        elif severity > self._heap[0][0]:
            heapq.heapreplace(self._heap, (severity, -next(self._counter), text()))

    def texts(self) -> list[str]:
        """Return the texts of all kept errors, the most severe first."""
        return [text for _, _, text in sorted(self._heap, reverse=True)]

    def reset(self) -> None:
        """Remove all errors."""
        self._heap.clear()


def shorten(text: str, characters: int = 600) -> str:
    """Return ``text``, its middle replaced by an ellipsis if it exceeds ``characters``."""
    half = characters // 2
    return text if len(text) <= characters else f"{text[:half]} … {text[-half:]}"


def escape(text: str) -> str:
    """Return ``text`` with Markdown and HTML escaped, on one line."""
    return " ".join(text.translate(_MARKS).split())
