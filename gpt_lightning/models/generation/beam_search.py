"""Beam search with a length penalty, equal to that of transformers.

P prompts, K beams of a prompt, R = P * K rows, J candidates of a prompt, T tokens, C channels, V vocabulary.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from gpt_lightning.models.generation.answer import Answer
from gpt_lightning.models.generation.batched import prefill
from gpt_lightning.models.generation.decoder import TextDecoder
from gpt_lightning.models.generation.generate import check_finite
from gpt_lightning.models.generation.logits_processors import LogitsProcessor, check_any_allowed, pad_left


class Beam(NamedTuple):
    """Continuation of a prompt, with its log-probabilities."""

    parent: int
    """Row of the cache that holds the text up to its last token."""
    ids: list[int]
    """New tokens."""
    logprobs: list[float]
    """Log-probability of each new token, before the logits processors."""
    sum: float
    """Sum of the log-probabilities, after the logits processors."""


@dataclass
class Search:
    """Finished and unfinished texts of a prompt.

    Attributes:
        num_beams: maximum number of finished texts, and of unfinished ones.
        length_penalty: a text scores the sum of its log-probabilities, divided by its length to this power.
        num_forced: number of tokens before the new ones that count as part of the text.
        early_stopping: end when there are enough finished texts, whatever their scores.
        stop_ids: tokens that complete a text.
        is_finished: returns True if the new tokens complete a text; None if only stop tokens do.
        beams: unfinished texts, best first.
        finished: scores and finished texts, best first.
    """

    num_beams: int
    length_penalty: float
    num_forced: int
    early_stopping: bool
    stop_ids: Collection[int]
    is_finished: Callable[[list[int]], bool] | None
    beams: list[Beam]
    finished: list[tuple[float, Answer]] = field(default_factory=list)

    def update(self, candidates: Sequence[Beam], *, is_last: bool) -> None:
        """Replace the beams with the best unfinished candidates, and store the finished ones.

        Args:
            candidates: texts with one more token, best first. Only the best ``num_beams`` of them may finish.
            is_last: whether the texts have the maximum number of tokens.
        """
        self.beams = []
        for place, candidate in enumerate(candidates):
            is_stopped = candidate.ids[-1] in self.stop_ids
            is_complete = is_stopped or (self.is_finished is not None and self.is_finished(candidate.ids))
            if not (is_complete or is_last):
                self.beams.append(candidate)
            elif place < self.num_beams:
                count = len(candidate.ids) - is_stopped
                stop_id = candidate.ids[-1] if is_stopped else None
                answer = Answer(candidate.ids[:count], is_complete, tuple(candidate.logprobs[:count]), stop_id)
                self.finished.append((self._score(candidate), answer))
            if len(self.beams) == self.num_beams:
                break
        self.finished = sorted(self.finished, key=lambda each: -each[0])[: self.num_beams]

    def can_improve(self) -> bool:
        """Return whether a beam with its current score would still be among the best finished texts."""
        if not self.beams or len(self.finished) < self.num_beams:
            return bool(self.beams)
        return not self.early_stopping and self._score(self.beams[0]) > self.finished[-1][0]

    def _score(self, beam: Beam) -> float:
        return float(beam.sum / (self.num_forced + len(beam.ids)) ** self.length_penalty)


@torch.inference_mode()
def beam_search(
    decoder: TextDecoder,
    head: Callable[[Tensor], Tensor],
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    num_beams: int,
    length_penalty: float = 1.0,
    num_forced: int = 0,
    early_stopping: bool = False,
    stop_ids: Collection[int] = (),
    is_finished: Callable[[list[int]], bool] | None = None,
    logits_processors: Sequence[LogitsProcessor] = (),
) -> list[list[Answer]]:
    """Return the best continuations of each prompt, at most ``num_beams``, best first.

    Other prompts do not change the result of a prompt, except for rounding. The search for a prompt ends when it has
    ``num_beams`` finished texts, and no unfinished text scores better than the worst of them.

    Args:
        decoder: the model, such as a ``Decoder`` of a backbone in ``eval`` mode.
        head: maps hidden states (R, C) to logits (R, V).
        prompts: token ids, at least one for each prompt.
        max_new_tokens: maximum number of new tokens. Together with the longest prompt, they must fit ``block_size``.
        num_beams: number of texts that are continued at the same time. With 1 and without logits processors,
            the result is that of greedy decoding.
        length_penalty: exponent of the length by which the log-probability of a text is divided; above 0, it favors
            long texts (Wu et al. 2016, arXiv:1609.08144).
        num_forced: number of tokens at the end of each prompt that count in this length, such as the first token of
            BART's target, which the model does not choose.
        early_stopping: end the search for a prompt as soon as it has ``num_beams`` finished texts.
        stop_ids: tokens that complete a continuation. They are not part of it.
        is_finished: returns True if a continuation is complete; called with the new tokens of each candidate, which
            stay part of the continuation.
        logits_processors: rules that change the log-probabilities before tokens are chosen, in this order.

    Raises:
        InputError: the longest prompt and the new tokens do not fit ``block_size``, the logits are not finite, or a
            prompt has no allowed continuation.
    """
    cache, hidden_RC = prefill(decoder, prompts, max_new_tokens)
    searches = [
        Search(num_beams, length_penalty, num_forced, early_stopping, stop_ids, is_finished, [Beam(row, [], [], 0.0)])
        for row in range(len(prompts))
    ]
    active = searches
    text_RT = pad_left(prompts, cache.device)
    # Each beam has at most one candidate per stop token, so at least num_beams unfinished candidates are left.
    num_candidates = max(2, 1 + len(stop_ids)) * num_beams
    for step in range(max_new_tokens):
        check_finite(logits_RV := head(hidden_RC))
        raw_RV = logits_RV.float().log_softmax(-1)
        processed_RV = raw_RV
        for process in logits_processors:
            processed_RV = process(processed_RV, text_RT, step)
        candidates = _candidates([each.beams for each in active], raw_RV, processed_RV, num_candidates)
        for each, beams in zip(active, candidates, strict=True):
            each.update(beams, is_last=step == max_new_tokens - 1)
        active = [each for each in active if each.can_improve()]
        if not active:
            break
        beams = [beam for each in active for beam in each.beams]
        parents_R = torch.tensor([beam.parent for beam in beams], device=cache.device)
        (cache.reorder if len(parents_R) == len(text_RT) else cache.select_rows)(parents_R)
        tokens_R1 = torch.tensor([beam.ids[-1:] for beam in beams], device=cache.device)
        text_RT = torch.cat((text_RT[parents_R], tokens_R1), dim=1)
        hidden_RC = decoder(tokens_R1, cache)[:, -1]
    check_any_allowed(torch.tensor([bool(each.finished) for each in searches]))
    return [[answer for _, answer in each.finished] for each in searches]


def _candidates(
    beams: Sequence[Sequence[Beam]], raw_RV: Tensor, processed_RV: Tensor, count: int
) -> Iterator[list[Beam]]:
    """Yield the best texts of each prompt with one more token, at most ``count``, best first.

    Args:
        beams: the texts of each prompt; together they are the rows, in this order.
        raw_RV: log-probabilities of the next token.
        processed_RV: log-probabilities that count; excluded tokens have ``-inf``.
        count: maximum number of candidates of a prompt.
    """
    best_RJ, tokens_RJ = processed_RV.topk(min(count, processed_RV.size(1)))
    sums_RJ = best_RJ + best_RJ.new_tensor([[beam.sum] for each in beams for beam in each])
    rows = enumerate(zip(sums_RJ.tolist(), tokens_RJ.tolist(), raw_RV.gather(1, tokens_RJ).tolist(), strict=True))
    for each in beams:
        found = [
            (total, row, beam, token, logprob)
            for beam, (row, columns) in zip(each, islice(rows, len(each)), strict=True)
            for total, token, logprob in zip(*columns, strict=True)
            if total > -math.inf
        ]
        found.sort(key=lambda candidate: -candidate[0])
        yield [
            Beam(row, [*beam.ids, token], [*beam.logprobs, logprob], total)
            for total, row, beam, token, logprob in found[:count]
        ]
