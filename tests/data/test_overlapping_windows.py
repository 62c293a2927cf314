"""Overlapping windows: complete words, as many as fit, and each word scored once, with the most context."""

import itertools
import math
import random
from collections.abc import Sequence

import pytest

from gpt_lightning.data.overlapping_windows import Window, token_windows, word_windows
from gpt_lightning.errors import InputError


def context(lengths: Sequence[int], window: Window, word: int) -> float:
    """Return the context of a word by its definition."""
    left = sum(lengths[window.first_word : word]) if window.first_word > 0 else math.inf
    right = sum(lengths[word + 1 : window.stop_word]) if window.stop_word < len(lengths) else math.inf
    return min(left, right)


def check(lengths: Sequence[int], size: int, stride: int) -> None:
    windows = word_windows(lengths, size, stride)
    assert windows[0].first_word == 0
    assert windows[-1].stop_word == len(lengths)
    for window in windows:
        first, stop = window.first_word, window.stop_word
        assert first < stop
        assert sum(lengths[first:stop]) <= size or stop == first + 1
        if stop < len(lengths):  # the window cannot be longer
            assert sum(lengths[first : stop + 1]) > size
    for before, after in itertools.pairwise(windows):
        assert before.first_word < after.first_word <= before.stop_word < after.stop_word
        check_shared(lengths, size, stride, after.first_word, before.stop_word)
    scored = [word for window in windows for word in range(window.first_scored, window.stop_scored)]
    assert scored == list(range(len(lengths)))
    for window in windows:
        for word in range(window.first_scored, window.stop_scored):
            candidates = [other for other in windows if other.first_word <= word < other.stop_word]
            assert window in candidates
            assert context(lengths, window, word) == max(context(lengths, other, word) for other in candidates)


def check_shared(lengths: Sequence[int], size: int, stride: int, first: int, stop: int) -> None:
    """Check that the fewest words with ``stride`` tokens are shared, or fewer if the next word needs the room."""
    shared = lengths[first:stop]
    if sum(shared) < stride:
        assert sum(lengths[first - 1 : stop + 1]) > size
    elif shared:
        assert sum(shared[1:]) < stride


def test_windows_of_random_texts_have_the_documented_properties() -> None:
    generator = random.Random(0)
    for _ in range(1000):
        longest = generator.choice([1, 2, 5, 30])
        lengths = [generator.randint(1, longest) for _ in range(generator.randint(1, 60))]
        size = generator.randint(1, 25)
        check(lengths, size, generator.randrange(size))


def test_words_without_tokens_are_scored_once() -> None:
    generator = random.Random(1)
    for _ in range(1000):
        lengths = [generator.choice([0, 0, 1, 4]) for _ in range(generator.randint(1, 40))]
        size = generator.randint(1, 12)
        windows = word_windows(lengths, size, generator.randrange(size))
        scored = [word for window in windows for word in range(window.first_scored, window.stop_scored)]
        assert scored == list(range(len(lengths)))
        for window in windows:
            assert window.first_scored == window.stop_scored or (
                window.first_word <= window.first_scored < window.stop_scored <= window.stop_word
            )


def test_a_text_that_fits_is_one_window() -> None:
    assert word_windows([3, 4, 3], 10, 9) == [Window(0, 3, 0, 3)]
    assert word_windows([], 10, 2) == []
    assert token_windows(0, 10, 2) == []


def test_a_long_word_is_a_window_of_its_own() -> None:
    assert word_windows([1, 9, 1], 4, 2) == [Window(0, 1, 0, 1), Window(1, 2, 1, 2), Window(2, 3, 2, 3)]


def test_tokens_are_scored_in_the_middle_of_windows() -> None:
    assert token_windows(10, 6, 4) == [Window(0, 6, 0, 4), Window(2, 8, 4, 6), Window(4, 10, 6, 10)]
    assert token_windows(7, 5, 3) == [Window(0, 5, 0, 3), Window(2, 7, 3, 7)]  # with equal context, the later window
    assert token_windows(4, 2, 0) == [Window(0, 2, 0, 2), Window(2, 4, 2, 4)]


@pytest.mark.parametrize(
    "windows", [lambda size, stride: token_windows(9, size, stride), lambda *a: word_windows([9], *a)]
)
@pytest.mark.parametrize(
    ("size", "stride", "message"),
    [
        (8, 8, r"^--data\.stride=8 must be from 0 to 7, because windows have 8 tokens; lower it, or raise --model"),
        (8, -1, r"^--data\.stride=-1 must be from 0 to 7"),
        (0, 0, r"^windows of 0 tokens leave no room for text; raise --model\.backbone\.block_size$"),
    ],
)
def test_invalid_sizes_are_refused(windows: object, size: int, stride: int, message: str) -> None:
    assert callable(windows)
    with pytest.raises(InputError, match=message):
        windows(size, stride)
