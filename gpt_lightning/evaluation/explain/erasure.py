"""Greedy erasure: words without which the model would decide otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final

import torch

from gpt_lightning.evaluation.explain.attributions import Attributions
from gpt_lightning.evaluation.explain.decision import Decision
from gpt_lightning.evaluation.explain.model_input import ModelInput

MAX_REMOVED: Final = 10
"""Number of words after which the search ends."""
MAX_CANDIDATES: Final = 50
"""Words of a long text that may be removed: those with the largest contributions."""
_BATCH_TOKENS: Final = 4096


@dataclass(frozen=True)
class Removal:
    """Word that was removed, and the decision without it and without those before it.

    Attributes:
        word: index of the word in the input.
        text: the word.
        score: score of the target after the removal.
        outcome: decision after the removal.
    """

    word: int
    text: str
    score: float
    outcome: str


@dataclass(frozen=True)
class Erasure:
    """Words that were removed one after the other, until the decision changed.

    Attributes:
        removals: removed words in order.
        is_changed: True if the decision changed; False if the words ran out, or their maximum number was reached.
        num_candidates: number of words that could be removed.
    """

    removals: list[Removal]
    is_changed: bool
    num_candidates: int


def erase(decision: Decision, model_input: ModelInput, attributions: Attributions) -> Erasure | None:
    """Remove the word whose removal lowers the score of the target the most, and repeat until the decision changes.

    Removing a word deletes its tokens. The words that the decision is about, such as a tagged word or the answer, stay.

    Args:
        decision: the decision.
        model_input: input of the decision.
        attributions: contributions of the words, which choose the candidates in long texts.

    Returns:
        The removed words; None if the model does not decide for the target, so that there is nothing to change.
    """
    every = range(len(decision.ids))
    _, (outcome,) = _evaluate(decision, [every])
    if outcome != decision.target:
        return None
    candidates = [
        index for index, word in enumerate(model_input.words) if not decision.protected.intersection(word.tokens)
    ]
    candidates = sorted(candidates, key=lambda index: -abs(attributions.words[index]))[:MAX_CANDIDATES]
    num_candidates, removals = len(candidates), list[Removal]()
    kept = list(every)
    while candidates and len(removals) < MAX_REMOVED and outcome == decision.target:
        shorter = [_without(kept, model_input.words[index].tokens) for index in candidates]
        # The model must still read a token before the decision.
        is_possible = list(map(decision.is_possible, shorter))
        candidates, shorter = list(compress(candidates, is_possible)), list(compress(shorter, is_possible))
        if not candidates:
            break
        scores, outcomes = _evaluate(decision, shorter)
        best = min(range(len(scores)), key=lambda place: decision.rank(scores[place]))
        outcome, kept, index = outcomes[best], shorter[best], candidates.pop(best)
        removals.append(Removal(index, model_input.words[index].text, scores[best], outcome))
    return Erasure(removals, outcome != decision.target, num_candidates)


def _without(kept: Sequence[int], removed: Sequence[int]) -> list[int]:
    return [position for position in kept if position not in removed]


@torch.inference_mode()
def _evaluate(decision: Decision, kept: Sequence[Sequence[int]]) -> tuple[list[float], list[str]]:
    """Return the score of the target and the decision for copies of the input, each with some of its tokens."""
    scores: list[float] = []
    outcomes: list[str] = []
    size = max(1, _BATCH_TOKENS // max(map(len, kept)))
    for start in range(0, len(kept), size):
        rows = decision.rows(kept[start : start + size])
        logits = decision.logits(rows)
        scores += decision.scores(logits, rows).tolist()
        outcomes += decision.outcomes(logits, rows)
    return scores, outcomes
