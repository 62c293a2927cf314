"""Prompt-lookup speculative decoding: draft tokens from repetitions in the text.

A forward pass over eight tokens costs little more than one over a single token, because both read all weights. So draft
tokens are appended to the last token, and those that the model itself draws are kept (speculative decoding, Leviathan
et al. 2022, arXiv:2211.17192). The draft comes from the text itself (prompt-lookup decoding, Saxena 2023,
https://github.com/apoorvumang/prompt-lookup-decoding).
"""

from collections.abc import Iterable
from typing import Final

_DRAFT_LENGTHS: Final = {5: 14, 3: 7, 2: 2, 1: 1}
"""Length of the n-gram that ends the text -> number of draft tokens after its previous occurrence, longest first."""


class PromptLookup:
    """Growing text with an index of its n-grams; each operation takes constant time.

    Args:
        text: the initial token ids.
    """

    def __init__(self, text: Iterable[int]) -> None:
        self._text: list[int] = []
        self._next_index: dict[tuple[int, ...], int] = {}
        """N-gram -> index of the token after its last occurrence."""
        for token in text:
            self.append(token)

    def append(self, token: int) -> None:
        """Append a token to the text."""
        for length in _DRAFT_LENGTHS:
            if len(self._text) >= length:
                self._next_index[tuple(self._text[-length:])] = len(self._text)
        self._text.append(token)

    def propose(self, max_tokens: int) -> list[int]:
        """Return draft tokens to follow the text, at most ``max_tokens``; none if its last token is new.

        A draft that reaches the end of the text repeats from its first token, because text that has repeated itself
        once may do so again.
        """
        for length, count in _DRAFT_LENGTHS.items():
            start = self._next_index.get(tuple(self._text[-length:]))
            if start is not None:
                period = len(self._text) - start
                return [self._text[start + index % period] for index in range(min(count, max_tokens))]
        return []
