"""Token attributions by integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365).

T tokens, C channels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.explain.decision import Decision
from gpt_lightning.evaluation.explain.model_input import ModelInput
from gpt_lightning.models.encoder_decoder import EncoderDecoder
from gpt_lightning.tasks.finite import require_finite

MAX_GAP: Final = 0.01
"""Completeness gap at which the number of steps is no longer raised."""
_STEPS: Final = (16, 32, 64, 128, 256, 512)
"""Numbers of steps of the integral, which are tried in order."""
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
        num_steps: number of steps of the integral.
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


def attribute(decision: Decision, model_input: ModelInput, baseline_id: int) -> Attributions:
    """Return the contribution of each token to the score of a decision.

    The integral follows a straight line from the baseline to the input, in the space of token embeddings. Positions and
    tokens of the layout are the same on both sides. The number of steps is raised until the completeness gap is at most
    ``MAX_GAP``, or to the maximum.

    Args:
        decision: the decision.
        model_input: input of the decision.
        baseline_id: token id that replaces each token of the texts in the baseline.

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
    batch_rows = max(1, min(_MAX_BATCH_ROWS, _BATCH_TOKENS // ids.size(1)))
    for num_steps in _STEPS:
        found_1TC = method.attribute(
            inputs_1TC, baselines=baseline_1TC, n_steps=num_steps, internal_batch_size=batch_rows
        )
        tokens = found_1TC[0].detach().double().sum(-1)
        gap = _gap(float(tokens.sum()), score - baseline_score)
        if gap <= MAX_GAP:
            break
    require_finite(tokens, [])
    values = tokens.tolist()
    words = [sum(values[place] for place in word.tokens) for word in model_input.words]
    return Attributions(values, words, score, baseline_score, gap, num_steps)


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
