"""Result of the generation loops that return complete texts."""

from collections.abc import Sequence
from typing import NamedTuple


class Answer(NamedTuple):
    """Continuation of a prompt."""

    ids: list[int]
    """New tokens, without the stop token."""
    is_complete: bool
    """True if the text ended by itself, False if it reached the maximum number of new tokens."""
    logprobs: Sequence[float] = ()
    """Log-probability of each new token in nats, before temperature and penalties; empty unless requested."""
    stop_id: int | None = None
    """Stop token that completed the text; None if there was none."""
