"""Assignment of the tokens of a text to its words."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.tokenizers.tokenizer import Tokenizer

Words = Sequence[tuple[int, int]]
"""Start and stop of each word of a text, in characters."""


class WordTokens(NamedTuple):
    """Token ids, (n,), of one word, or of consecutive words [first, stop) that share tokens."""

    first: int
    stop: int
    ids: NDArray[np.int64]
    num_blank: int
    """Number of tokens at the start that hold only whitespace before the word, less than n."""


def assign_tokens(ids: NDArray[np.int64], offsets: NDArray[np.int64], words: Words) -> list[WordTokens] | None:
    """Return the tokens of each word of a text, with words that share a token, or have none, in one group.

    Whitespace belongs to the word after it. Tokens after the last word are left out.

    Args:
        ids: token ids of the text, (n,).
        offsets: [start, stop) of each token in characters, (n, 2).
        words: the words, in order.

    Returns:
        The groups in order; None if the tokens are not in the order of the text, or a text with words has no tokens.
    """
    if not words:
        return []
    starts, stops = np.array(words).T
    first = np.searchsorted(stops, offsets[:, 0], side="right")  # first word that ends after the token's start
    last = np.maximum(np.searchsorted(starts, offsets[:, 1], side="left") - 1, first)
    inside = first < len(words)
    ids, offsets, first, last = ids[inside], offsets[inside], first[inside], last[inside]
    if not len(ids) or (np.diff(first) < 0).any():
        return None
    is_joined = np.zeros(len(words) + 1, dtype=np.bool_)  # True if a word is in the group of the word before it
    for begin, end in zip(first[last > first].tolist(), last[last > first].tolist(), strict=True):
        is_joined[begin + 1 : end + 1] = True
    has_tokens = np.isin(np.arange(len(words)), first) | is_joined[:-1]
    is_joined[:-1][~has_tokens] = True
    is_joined[0] = False
    bounds = [*np.flatnonzero(~is_joined[:-1]).tolist(), len(words)]
    cuts = np.searchsorted(first, bounds).tolist()
    groups = [
        WordTokens(begin, end, ids[cut:next_cut], _num_blank(offsets[cut:next_cut], words[begin][0]))
        for begin, end, cut, next_cut in zip(bounds, bounds[1:], cuts, cuts[1:], strict=False)
    ]
    return groups if all(len(group.ids) for group in groups) else None


def _num_blank(offsets: NDArray[np.int64], start: int) -> int:
    """Return the number of tokens at the start of a word's tokens that end where the word starts, or before."""
    return min(int((offsets[:, 1] <= start).cumprod().sum()), max(len(offsets) - 1, 0))


def encode_separately(tokenizer: Tokenizer, texts: Sequence[tuple[str, Words]]) -> list[list[WordTokens]]:
    """Return the tokens of each word of each text, at least one per word. Each word is encoded by itself."""
    pieces = [piece for text, words in texts for piece in _pieces(text, words)]
    encoded = iter(zip(pieces, tokenizer.encode_with_offsets(pieces), strict=True))
    # A word that the tokenizer normalizes to nothing still needs a token for its tag.
    filler = np.array([tokenizer.end_of_text_id]), np.array([[0, 1]])
    result = []
    for _, words in texts:
        groups = []
        for number, (piece, found) in zip(range(len(words)), encoded, strict=False):
            ids, offsets = found if len(found[0]) else filler
            groups.append(WordTokens(number, number + 1, ids, _num_blank(offsets, len(piece) - len(piece.lstrip()))))
        result.append(groups)
    return result


def _pieces(text: str, words: Words) -> Iterator[str]:
    """Yield each word with the whitespace before it; joined, they are the text up to its last word."""
    before = 0
    for _, stop in words:
        yield text[before:stop]
        before = stop
