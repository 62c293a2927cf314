"""The hardest examples of a validation."""

import heapq
import itertools
from collections.abc import Callable
from typing import Final

_MARKS: Final = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\`*_{}[]()#+-.!|"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)


class HardestExamples:
    """Keeps the ``size`` worst of any number of errors, each as a piece of Markdown."""

    def __init__(self, size: int = 20) -> None:
        self.size = size
        self._heap: list[tuple[float, int, str]] = []
        self._counter = itertools.count()  # between equals the first stays, and no texts are compared

    def add(self, badness: float, text: Callable[[], str]) -> None:
        """Add an error; ``text`` is called only if it is among the worst so far."""
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, (badness, -next(self._counter), text()))
        elif badness > self._heap[0][0]:
            heapq.heapreplace(self._heap, (badness, -next(self._counter), text()))

    def texts(self) -> list[str]:
        """All that are kept, the worst first."""
        return [text for _, _, text in sorted(self._heap, reverse=True)]

    def reset(self) -> None:
        """Forget all."""
        self._heap.clear()


def shorten(text: str, characters: int = 600) -> str:
    """Text without its middle, if it is long."""
    half = characters // 2
    return text if len(text) <= characters else f"{text[:half]} … {text[-half:]}"


def escape(text: str) -> str:
    """Text as it is, in Markdown: nothing in it formats, links or ends the line."""
    return " ".join(text.translate(_MARKS).split())
