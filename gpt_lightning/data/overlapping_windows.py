"""Overlapping windows over texts that are longer than the context of the model."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from gpt_lightning.errors import InputError


class Window(NamedTuple):
    """Window over a text, as half-open ranges of word indices."""

    first_word: int
    stop_word: int
    first_scored: int
    """First of the words that are scored in this window, because it has the most context around them."""
    stop_scored: int


def word_windows(lengths: Sequence[int], size: int, stride: int) -> list[Window]:
    """Split a text into windows of complete words with at most ``size`` tokens each.

    Neighboring windows share at least ``stride`` tokens, in complete words, or fewer if the next word needs the room. A
    word longer than ``size`` is a window of its own. A text that fits is one window, and a text without words has none.

    Each word is scored in one window, the one with the most context around it. The context of a word is the smaller
    number of tokens on either side in the window; an edge of the text counts as infinitely far. If two windows have the
    same context, the later one scores the word. The scored ranges are therefore consecutive, and may be empty if words
    have very different lengths.

    Args:
        lengths: number of tokens of each word.
        size: maximum number of tokens in a window, positive.
        stride: number of tokens that neighboring windows share, from 0 to ``size`` - 1.

    Raises:
        InputError: ``size`` or ``stride`` is out of range.
    """
    if size < 1:
        raise InputError(f"windows of {size} tokens leave no room for text; raise --model.backbone.block_size")
    if not 0 <= stride < size:
        raise InputError(
            f"--data.stride={stride} must be from 0 to {size - 1}, because windows have {size} tokens; lower it, or "
            "raise --model.backbone.block_size"
        )
    ends = [0, *accumulate(lengths)]  # ends[i] is the number of tokens before word i
    ranges = _ranges(ends, size, stride)
    scored = [0] * len(ranges) + [len(lengths)]  # first scored word of each window
    window = 0
    for word in range(len(lengths)):
        # From window to window, left context only shrinks and right context only grows: the best never moves back.
        while window + 1 < len(ranges) and (
            _context(ends, ranges[window + 1], word) >= _context(ends, ranges[window], word)
        ):
            window += 1
            scored[window] = word
    return [Window(*words, *span) for words, span in zip(ranges, pairwise(scored), strict=True)]


def token_windows(num_tokens: int, size: int, stride: int) -> list[Window]:
    """Split tokens into windows, as ``word_windows`` does for words of one token each.

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
            min_first = bisect_left(
                ends, ends[stop + 1] - size
            )  # with an earlier first word, the next word would not fit
            first = min(max(shared, min_first), stop)
    return ranges


def _context(ends: list[int], words: tuple[int, int], word: int) -> int:
    """Count the tokens of a window before and after a word; return the smaller count, or -1 if the word is not in it.

    The edges of the text need no special case. If the start of the text limits the context of a word in the first
    window, every later window has even less context before the word, so the first one wins. The last window is
    symmetric.
    """
    first, stop = words
    if not first <= word < stop:
        return -1
    return min(ends[word] - ends[first], ends[stop] - ends[word + 1])
