"""Prompt-lookup speculation: proposals for the next tokens from repetitions in the text.

A pass over eight tokens costs little more than one over a single token, as both read all the weights. So guesses are
put behind the token that is certain, and as many of them are kept as the model would have drawn itself (speculative
decoding, Leviathan et al. 2022, arXiv:2211.17192, with the text as its own draft model: prompt lookup decoding, Saxena
2023, https://github.com/apoorvumang/prompt-lookup-decoding).
"""

from collections.abc import Iterable
from typing import Final

_GUESSES: Final = {5: 14, 3: 7, 2: 2, 1: 1}
"""How many last tokens are looked for in the text, the longest first: and how many guesses follow from a match."""


class PromptLookup:
    """A text that grows, and what followed each few of its tokens; every step takes constant time.

    Args:
        text: the tokens so far.
    """

    def __init__(self, text: Iterable[int]) -> None:
        self._text: list[int] = []
        self._follower: dict[tuple[int, ...], int] = {}
        """Where the token stands that last came after these."""
        for token in text:
            self.append(token)

    def append(self, token: int) -> None:
        """The text goes on with ``token``."""
        for length in _GUESSES:
            if len(self._text) >= length:
                self._follower[tuple(self._text[-length:])] = len(self._text)
        self._text.append(token)

    def guess(self, room: int) -> list[int]:
        """The tokens that may come next, ``room`` at most; none where the last token is new.

        Where the text ends before there are as many, they begin again: a text that went round once may go on so.
        """
        for length, count in _GUESSES.items():
            start = self._follower.get(tuple(self._text[-length:]))
            if start is not None:
                period = len(self._text) - start
                return [self._text[start + place % period] for place in range(min(count, room))]
        return []
