"""Model inputs for tagging: overlapping windows over the words of a text, with a label at one token of each word."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.data.overlapping_windows import word_windows
from gpt_lightning.tokenizers.layout import InputLayout


class TagWindow(NamedTuple):
    """Model input for consecutive words of a text: (T,) arrays."""

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    scored: NDArray[np.bool_]


def tag_windows(
    words: Sequence[NDArray[np.int64]],
    places: NDArray[np.int64],
    labels: NDArray[np.int64],
    layout: InputLayout,
    block_size: int,
    stride: int,
) -> list[TagWindow]:
    """Return the windows of a text. If a window has several copies of its words, the last copy is labeled.

    Args:
        words: token ids of each word, of which none is longer than a window.
        places: index of the labeled token in each word.
        labels: label of each word.
        layout: tokens around the text, and the number of copies.
        block_size: maximum number of tokens in a window.
        stride: minimum number of tokens that neighboring windows share.

    Raises:
        InputError: a window has no room for text, or no more than ``stride`` tokens.
    """
    room = layout.copy_size(block_size)
    suffix = np.array(layout.parts[2], dtype=np.int64)
    lengths = [len(word) for word in words]
    result = []
    for window in word_windows(lengths, room, stride if sum(lengths) > room else 0):
        inside = slice(window.first_word, window.stop_word)
        text = np.concatenate(words[inside])
        before = layout.before_last_copy(text)
        tokens = np.concatenate((before, text, suffix))
        starts = len(before) + np.cumsum([0, *lengths[inside]])[:-1]
        positions = starts + places[inside]
        positions = positions[window.first_scored - window.first_word : window.stop_scored - window.first_word]
        targets = np.full(len(tokens), IGNORE_INDEX)
        targets[positions] = labels[window.first_scored : window.stop_scored]
        scored = np.zeros(len(tokens), dtype=np.bool_)
        scored[positions] = True
        result.append(TagWindow(tokens, targets, scored))
    return result
