"""Logits processors: rules that change the logits of the next token, given the text so far.

B batch, T tokens, V vocabulary, W n-grams of a text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gpt_lightning.errors import InputError

NO_TOKEN: Final = -1
"""Token id of the padding on the left of shorter texts."""

LogitsProcessor = Callable[[Tensor, Tensor, int], Tensor]
"""Function that returns new logits, (B, V), and does not modify its arguments: the logits, (B, V), the texts with their
prompts, (B, T), padded on the left with ``NO_TOKEN``, and the number of new tokens in each text."""


@dataclass(frozen=True)
class RepetitionPenalty:
    """Lower logits of tokens that the text already contains (Keskar et al. 2019, arXiv:1909.05858).

    Attributes:
        penalty: divisor of positive logits and factor of negative ones; below 1, repetitions become likelier.
    """

    penalty: float

    def __call__(self, logits_BV: Tensor, text_BT: Tensor, num_new: int) -> Tensor:
        """Return the new logits; see ``LogitsProcessor``."""
        penalized_BV = torch.where(logits_BV > 0.0, logits_BV / self.penalty, logits_BV * self.penalty)
        return torch.where(_tokens_in(text_BT, logits_BV.size(1)), penalized_BV, logits_BV)


@dataclass(frozen=True)
class NoRepeatNgrams:
    """Exclusion of tokens that would complete an n-gram that the text already contains (Paulus et al. 2017).

    Attributes:
        size: number of tokens of an n-gram.
    """

    size: int

    def __call__(self, logits_BV: Tensor, text_BT: Tensor, num_new: int) -> Tensor:
        """Return the new logits; see ``LogitsProcessor``."""
        num_tokens = text_BT.size(1)
        if num_tokens < self.size:
            return logits_BV
        start_BN = text_BT[:, num_tokens + 1 - self.size :]
        # Padding is on the left. A start with padding belongs to a text shorter than an n-gram, and matches nothing.
        ngrams_BWN = text_BT.unfold(1, self.size, 1)
        is_match_BW = (ngrams_BWN[..., :-1] == start_BN.unsqueeze(1)).all(-1)
        last_BW = ngrams_BWN[..., -1].where(is_match_BW, NO_TOKEN)
        return logits_BV.masked_fill(_tokens_in(last_BW, logits_BV.size(1)), -torch.inf)


@dataclass(frozen=True)
class MinNewTokens:
    """Exclusion of stop tokens from the first new tokens.

    Attributes:
        count: number of new tokens before the first stop token.
        stop_ids: the stop tokens.
    """

    count: int
    stop_ids: tuple[int, ...]

    def __call__(self, logits_BV: Tensor, text_BT: Tensor, num_new: int) -> Tensor:
        """Return the new logits; see ``LogitsProcessor``."""
        return logits_BV if num_new >= self.count else _without(logits_BV, self.stop_ids)


@dataclass(frozen=True)
class MinLength:
    """Exclusion of stop tokens from short texts.

    Attributes:
        count: number of tokens of a text, with its prompt, before the first stop token.
        stop_ids: the stop tokens.
    """

    count: int
    stop_ids: tuple[int, ...]

    def __call__(self, logits_BV: Tensor, text_BT: Tensor, num_new: int) -> Tensor:
        """Return the new logits; see ``LogitsProcessor``."""
        is_short_B1 = (text_BT != NO_TOKEN).sum(1, keepdim=True) < self.count
        return torch.where(is_short_B1, _without(logits_BV, self.stop_ids), logits_BV)


def _without(logits_BV: Tensor, ids: Sequence[int]) -> Tensor:
    """Return the logits without tokens; ids outside of the vocabulary are ignored."""
    known = [index for index in ids if index < logits_BV.size(1)]
    return logits_BV.index_fill(1, torch.tensor(known, device=logits_BV.device, dtype=torch.int64), -torch.inf)


def pad_left(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Return texts of different lengths as (B, T) int64, padded on the left with ``NO_TOKEN``."""
    longest = max(map(len, rows))
    padded = [[NO_TOKEN] * (longest - len(row)) + list(row) for row in rows]
    return torch.tensor(padded, dtype=torch.int64, device=device)


def check_any_allowed(is_allowed: Tensor) -> None:
    """Check that each text has a token that the logits processors allow.

    Args:
        is_allowed: (B,) bool, whether a text has an allowed token.

    Raises:
        InputError: a text has no allowed token.
    """
    if not bool(is_allowed.all()):
        raise InputError(
            "no token is left that would not repeat an n-gram. Raise --no_repeat_ngram_size, or lower --max_new_tokens"
        )


def _tokens_in(text_BT: Tensor, vocab_size: int) -> Tensor:
    """Return which tokens a text contains, (B, V) bool."""
    is_in_BV = torch.zeros(len(text_BT), vocab_size + 1, dtype=torch.bool, device=text_BT.device)
    is_in_BV.scatter_(1, text_BT.where(text_BT != NO_TOKEN, vocab_size), True)  # the last column is for padding
    return is_in_BV[:, :-1]
