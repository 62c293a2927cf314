"""Token attributions by integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365).

S segments of the path, T tokens, C channels.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.explain.decision import Decision
from gpt_lightning.evaluation.explain.model_input import ModelInput
from gpt_lightning.models.encoder_decoder import EncoderDecoder
from gpt_lightning.tasks.finite import require_finite

MAX_GAP: Final = 0.01
"""Completeness gap up to which attributions are complete."""
MAX_STEPS: Final = 2048
"""Number of points of the integral at which its refinement ends."""
_SEGMENT_STEPS: Final = 8
"""Points of the integral on each segment of the path."""
_BATCH_TOKENS: Final = 2048
_MAX_BATCH_ROWS: Final = 64
"""Rows that a head evaluates in one piece, so that its first embedding is that of all rows."""


@dataclass(frozen=True)
class Attributions:
    """Contribution of each token to the score of a decision.

    Attributes:
        tokens: contribution of each token of the input; 0 for tokens of the layout, which the baseline shares.
        words: contribution of each word, the sum over its tokens.
        score: score of the decision.
        baseline_score: score of the decision for the baseline.
        gap: completeness gap, |sum of contributions - (score - baseline score)| relative to |score - baseline score|.
        num_steps: number of points of the integral.
    """

    tokens: list[float]
    words: list[float]
    score: float
    baseline_score: float
    gap: float
    num_steps: int

    @property
    def is_complete(self) -> bool:
        """True if the gap is at most ``MAX_GAP``."""
        return self.gap <= MAX_GAP


def check_captum() -> None:
    """Check that captum is installed.

    Raises:
        InputError: it is not.
    """
    try:
        import captum.attr  # noqa: F401
    except ImportError:
        raise InputError("captum is not installed. Install it with: pip install 'gpt-lightning[explain]'") from None


def attribute(
    decision: Decision,
    model_input: ModelInput,
    baseline_id: int,
    advance: Callable[[float], object] = lambda _: None,
) -> Attributions:
    """Return the contribution of each token to the score of a decision.

    The integral follows a straight line from the baseline to the input, in the space of token embeddings. Positions and
    tokens of the layout are the same on both sides. On each segment of the line, the contributions must sum to the
    change of the score. Segments with a large error are halved until all errors together are at most ``MAX_GAP``, so
    that the points are dense where the score changes fast.

    Args:
        decision: the decision.
        model_input: input of the decision.
        baseline_id: token id that replaces each token of the texts in the baseline.
        advance: function that receives each part of the work when it is done; the parts sum to 1.

    Raises:
        InputError: captum is not installed.
        RunError: the output of the model is not finite.
    """
    check_captum()
    from captum.attr import IntegratedGradients

    ids = torch.tensor([decision.ids], device=decision.model.device)
    baseline_ids = ids.clone()
    baseline_ids[0, model_input.text_positions] = baseline_id
    embedding = input_embedding(decision)
    with torch.no_grad():
        inputs_1TC, baseline_1TC = embedding(ids), embedding(baseline_ids)
        score, baseline_score = _scores(decision, torch.cat((inputs_1TC, baseline_1TC))).tolist()
    require_finite(torch.tensor([score, baseline_score]), [])
    method = IntegratedGradients(lambda embeddings: _scores(decision, embeddings))
    path = _Path(decision, method, inputs_1TC, baseline_1TC)
    segments = path.refine(MAX_GAP * abs(score - baseline_score), advance)
    tokens = torch.stack([segment.contributions for segment in segments]).sum(0)
    require_finite(tokens, [])
    values: list[float] = tokens.tolist()
    words = [sum(values[place] for place in word.tokens) for word in model_input.words]
    gap = _gap(sum(values), score - baseline_score)
    return Attributions(values, words, score, baseline_score, gap, len(segments) * _SEGMENT_STEPS)


class _Segment(NamedTuple):
    """Part of the path, from 0 (baseline) to 1 (input)."""

    start: float
    end: float
    contributions: Tensor
    """(T,) float64, contributions of the tokens to the change of the score on the segment."""
    error: float
    """Absolute difference between their sum and the change of the score."""


class _Path:
    """Straight line from the baseline to the input.

    Args:
        decision: the decision.
        method: integrated gradients of its score.
        inputs_1TC: embeddings of the input.
        baseline_1TC: embeddings of the baseline.
    """

    def __init__(self, decision: Decision, method: Any, inputs_1TC: Tensor, baseline_1TC: Tensor) -> None:
        self.decision, self.method = decision, method
        self.baseline_1TC, self.difference_1TC = baseline_1TC, inputs_1TC - baseline_1TC
        self.batch_rows = max(1, min(_MAX_BATCH_ROWS, _BATCH_TOKENS // inputs_1TC.size(1)))

    def refine(self, tolerance: float, advance: Callable[[float], object]) -> list[_Segment]:
        """Return segments of the whole path whose errors sum to at most ``tolerance``, if ``MAX_STEPS`` are enough."""
        segments = self._integrate([(0.0, 0.5), (0.5, 1.0)])
        first = sum(segment.error for segment in segments)
        done = 0.0
        while (error := sum(segment.error for segment in segments)) > tolerance:
            # Most rounds lower the error by a similar factor.
            reached = math.log(first / error) / math.log(first / tolerance) if tolerance else 0.0
            advance(max(reached - done, 0.0))
            done = max(reached, done)
            # The worst segments come first, and the last round does not exceed the maximum.
            segments.sort(key=lambda segment: -segment.error)
            wrong = sum(segment.error > tolerance / len(segments) for segment in segments)
            count = min(wrong, MAX_STEPS // _SEGMENT_STEPS - len(segments))
            if count <= 0:
                break
            halves = [(each.start + each.end) / 2 for each in segments[:count]]
            parts = [(each.start, half) for each, half in zip(segments, halves, strict=False)]
            parts += [(half, each.end) for each, half in zip(segments, halves, strict=False)]
            segments = segments[count:] + self._integrate(parts)
        advance(1.0 - done)
        return segments

    def _integrate(self, parts: Sequence[tuple[float, float]]) -> list[_Segment]:
        """Return the segments between pairs of points."""
        size = max(1, self.batch_rows // _SEGMENT_STEPS)
        return [each for first in range(0, len(parts), size) for each in self._batch(parts[first : first + size])]

    def _batch(self, parts: Sequence[tuple[float, float]]) -> list[_Segment]:
        starts, ends = zip(*parts, strict=True)
        starts_STC, ends_STC = self._points(starts), self._points(ends)
        with torch.no_grad():
            scores = _scores(self.decision, torch.cat((starts_STC, ends_STC))).double()
        found_STC = self.method.attribute(
            ends_STC,
            baselines=starts_STC,
            n_steps=_SEGMENT_STEPS,
            internal_batch_size=max(self.batch_rows, len(parts)) if len(parts) == 1 else None,
        )
        contributions_ST = found_STC.detach().double().sum(-1)
        changes_S = scores[len(parts) :] - scores[: len(parts)]
        errors = (contributions_ST.sum(1) - changes_S).abs().tolist()
        return [_Segment(*each) for each in zip(starts, ends, contributions_ST, errors, strict=True)]

    def _points(self, places: Sequence[float]) -> Tensor:
        """Return the embeddings at places of the path, (S, T, C)."""
        weights = torch.tensor(places, dtype=self.difference_1TC.dtype, device=self.difference_1TC.device)
        return self.baseline_1TC + weights[:, None, None] * self.difference_1TC


def _gap(total: float, difference: float) -> float:
    """Return the completeness gap; 0 if both the contributions and the difference of scores are 0."""
    error = abs(total - difference)
    return error / abs(difference) if difference else float(error > 0.0)


def input_embedding(decision: Decision) -> nn.Module:
    """Return the token embedding of the input, which is that of the encoder if there is one."""
    backbone = decision.model.backbone
    return (backbone.encoder if isinstance(backbone, EncoderDecoder) else backbone).token_embedding


def _scores(decision: Decision, embeddings_BTC: Tensor) -> Tensor:
    """Return the scores of copies of the complete input, (B,), with other token embeddings."""
    rows = decision.rows([range(len(decision.ids))] * len(embeddings_BTC))
    with _embeddings(input_embedding(decision), embeddings_BTC):
        return decision.scores(decision.logits(rows), rows)


@contextmanager
def _embeddings(module: nn.Module, embeddings: Tensor) -> Iterator[None]:
    """Replace the result of the next call of ``module``.

    An encoder-decoder embeds the source before the target, possibly with the same module.
    """
    replaced = []

    def replace(_module: nn.Module, _arguments: Any, _result: Tensor) -> Tensor | None:
        replaced.append(True)
        return embeddings if len(replaced) == 1 else None

    handle = module.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
    assert replaced
