"""Stop strings, which end a generated text."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from gpt_lightning.errors import InputError

_MARGIN: Final = 4
"""Number of tokens that are decoded before a stop string, because decoders treat the first token differently."""


def stop_checker(decode: Callable[[list[int]], str], stops: Sequence[str]) -> Callable[[list[int]], bool]:
    """Return a function that tells whether the new tokens complete a stop string; call it after each token.

    It decodes only the last tokens, so its time does not depend on the length of the text.

    Args:
        decode: function that decodes token ids.
        stops: the stop strings, at least one.
    """
    # Each token has at least one byte, so a stop string that was just completed is within this many tokens.
    num_tokens = max(len(stop.encode()) for stop in stops) + _MARGIN

    def is_complete(ids: list[int]) -> bool:
        recent = decode(ids[-num_tokens:])
        return any(stop in recent for stop in stops)

    return is_complete


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Return the pieces of a text up to the stop string that is complete first, exclusive.

    A stop string may span several pieces. The borders of the pieces do not change the text.

    Args:
        pieces: pieces of a text, which are read no further than the stop string.
        stops: the stop strings; without any, the text stays complete.

    Raises:
        InputError: a stop string is empty.
    """
    if not all(stops):
        raise InputError("a stop string is empty, so no text could be generated. Remove it, or give its text")
    return _until_stop(pieces, stops)


def _until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    text = ""  # may be the start of a stop string
    for piece in pieces:
        text += piece
        places = [(place + len(stop), place) for stop in stops if (place := text.find(stop)) >= 0]
        if places:
            yield text[: min(places)[1]]
            return
        held = max((_overlap(text, stop) for stop in stops), default=0)
        yield text[: len(text) - held]
        text = text[len(text) - held :]
    yield text


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of ``text`` with which ``stop`` starts."""
    sizes = range(min(len(text), len(stop)), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)
