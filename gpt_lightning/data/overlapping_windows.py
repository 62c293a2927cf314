"""Overlapping windows over texts that are longer than the context.

A piece is what a model counts (a token); a word is one or more pieces that stay together.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from gpt_lightning.errors import InputError


class Window(NamedTuple):
    """Consecutive words of a text, as half-open ranges of their indices."""

    first_word: int
    stop_word: int
    first_scored: int
    """From here to ``stop_scored`` are the words that this window answers for, as it sees most around them."""
    stop_scored: int


def word_windows(lengths: Sequence[int], size: int, stride: int) -> list[Window]:
    """Cut a text into windows of whole words that each hold at most ``size`` pieces.

    Neighbours share at least ``stride`` pieces, in whole words, or as many as leave room for the next word. A word
    longer than ``size`` stands alone. Each word is scored in one window: where it has the most context, which is the
    smaller of the pieces to its left and to its right, an edge of the text counting as infinitely far (of equals, the
    later window). So the scored ranges follow each other; with words of very different lengths one may be empty. A
    text that fits is one window, and a text of no words is none.

    Args:
        lengths: pieces of each word.
        size: most pieces in a window, positive.
        stride: pieces that neighbours share, from 0 to ``size`` - 1.

    Raises:
        InputError: ``size`` or ``stride`` is out of range.
    """
    if size < 1:
        raise InputError(f"windows of {size} tokens leave no room for text; raise --model.backbone.block_size")
    if not 0 <= stride < size:
        raise InputError(
            f"--data.stride: {stride} tokens cannot be shared by windows of {size}; choose from 0 to {size - 1}"
        )
    ends = [0, *accumulate(lengths)]  # ends[i]: pieces before word i
    ranges = _ranges(ends, size, stride)
    scored = [0] * len(ranges) + [len(lengths)]  # where each window's scored words start
    window = 0
    for word in range(len(lengths)):
        # Of windows in order, left context only falls and right context only grows: the best never moves back.
        while window + 1 < len(ranges) and (
            _context(ends, ranges[window + 1], word) >= _context(ends, ranges[window], word)
        ):
            window += 1
            scored[window] = word
    return [Window(*words, *span) for words, span in zip(ranges, pairwise(scored), strict=True)]


def token_windows(num_tokens: int, size: int, stride: int) -> list[Window]:
    """Cut ``num_tokens`` tokens as ``word_windows`` does words of one piece each.

    Raises:
        InputError: ``size`` or ``stride`` is out of range.
    """
    return word_windows([1] * num_tokens, size, stride)


def _ranges(ends: list[int], size: int, stride: int) -> list[tuple[int, int]]:
    """Return the [first, stop) words of each window."""
    num_words = len(ends) - 1
    ranges: list[tuple[int, int]] = []
    first = stop = 0
    while stop < num_words:
        stop = max(bisect_right(ends, ends[first] + size) - 1, first + 1)
        ranges.append((first, stop))
        if stop < num_words:
            shared = bisect_right(ends, ends[stop] - stride) - 1
            room = bisect_left(ends, ends[stop + 1] - size)  # from here on, the next word still fits
            first = min(max(shared, room), stop)
    return ranges


def _context(ends: list[int], words: tuple[int, int], word: int) -> int:
    """Return the pieces around ``word`` on its poorer side, or -1 where it is outside.

    The text's edges need no care: only the first window is near the left one, and no other has more left of a word.
    """
    first, stop = words
    if not first <= word < stop:
        return -1
    return min(ends[word] - ends[first], ends[stop] - ends[word + 1])
