"""Logit lens: the prediction of each layer (nostalgebraist 2020, "interpreting GPT: the logit lens").

B batch, N positions, C channels, V vocabulary.

The final norm and the head are applied to the residual stream after each block.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from gpt_lightning.evaluation.explain.candidates import Candidate, TokenTexts, candidates, log_probabilities, ranks
from gpt_lightning.evaluation.explain.decision import Decision
from gpt_lightning.evaluation.explain.inputs import prompt_mask, row_of
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.interventions import record
from gpt_lightning.tasks import CausalLM, Seq2SeqLM
from gpt_lightning.tokenizers.tokenizer import Tokenizer

Output = TypeVar("Output")


@dataclass(frozen=True)
class LensToken:
    """Prediction of a layer at one position.

    Attributes:
        candidates: most probable next tokens, the most probable first.
        probability: probability of the actual next token; None at the last position.
        rank: rank of the actual next token by probability, from 1; None at the last position.
    """

    candidates: list[Candidate]
    probability: float | None
    rank: int | None


@dataclass(frozen=True)
class TokenLens:
    """Predictions of a layer of a language model at each position of a text."""

    layer: str
    tokens: list[LensToken]


@dataclass(frozen=True)
class HeadLens:
    """Score that a layer of a task with a head would give the target of a decision.

    Attributes:
        layer: name of the layer.
        score: score of the target, in the unit of the decision.
        probability: probability of the target; None for numbers.
    """

    layer: str
    score: float
    probability: float | None


@torch.inference_mode()
def logit_lens(
    task: CausalLM | Seq2SeqLM,
    tokenizer: Tokenizer,
    ids: Sequence[int],
    *,
    source_ids: Sequence[int] | None = None,
    num_prompt_tokens: int = 0,
    num_candidates: int = 5,
    num_last: int | None = None,
) -> list[TokenLens]:
    """Return the next tokens that each layer of a language model predicts, from the embedding to the last block.

    Args:
        task: language model or encoder-decoder in ``eval`` mode.
        tokenizer: tokenizer of the task.
        ids: token ids that the model, or the decoder of an encoder-decoder, reads.
        source_ids: token ids of the source, only for encoder-decoders.
        num_prompt_tokens: number of first tokens that form the prompt, which ``prefix`` attention reads in both
            directions.
        num_candidates: number of candidates at each position.
        num_last: number of last positions to read; None reads all. All logits of a layer are in memory at a time.

    Raises:
        InputError: a text is empty or longer than ``block_size``.
        RunError: a logit is not finite.
    """
    texts, lenses = TokenTexts(tokenizer), []

    def run() -> Tensor:
        return token_logits(task, ids, source_ids, num_last, num_prompt_tokens)

    for layer, logits_BNV in layer_outputs(task.backbone, run):
        log_p_NV = log_probabilities(logits_BNV[0])
        before_next = log_p_NV[:-1]
        next_ids = torch.tensor(ids[len(ids) - len(before_next) :], device=log_p_NV.device, dtype=torch.int64)
        probabilities = before_next.gather(1, next_ids.unsqueeze(1)).exp().squeeze(1).tolist()
        positions = zip(
            candidates(log_p_NV, num_candidates, texts),
            [*probabilities, None],
            [*ranks(before_next, next_ids), None],
            strict=True,
        )
        lenses.append(TokenLens(layer, [LensToken(*each) for each in positions]))
    return lenses


def token_logits(
    task: CausalLM | Seq2SeqLM,
    ids: Sequence[int],
    source_ids: Sequence[int] | None = None,
    num_last: int | None = None,
    num_prompt_tokens: int = 0,
) -> Tensor:
    """Return the logits of a language model, or of an encoder-decoder for a source, (1, N, V).

    See ``logit_lens`` for the arguments.
    """
    backbone = task.backbone
    row = row_of(backbone, ids)
    source = {"source_ids": row_of(backbone, source_ids or [], "source")} if isinstance(task, Seq2SeqLM) else {}
    hidden_BNC = backbone(row, prefix_mask=prompt_mask(row, num_prompt_tokens), **source)[:, -(num_last or len(ids)) :]
    logits_BNV: Tensor = task.head(hidden_BNC)
    return logits_BNV


@torch.inference_mode()
def head_lens(decision: Decision) -> list[HeadLens]:
    """Return the score of a decision in each layer of a task with a head, from the embedding to the last block.

    Args:
        decision: decision of a task in ``eval`` mode.
    """
    rows, lenses = decision.rows([range(len(decision.ids))]), []
    for layer, logits in layer_outputs(decision.model.backbone, lambda: decision.logits(rows)):
        probabilities = decision.probabilities(logits, rows)
        probability = None if probabilities is None else float(probabilities)
        lenses.append(HeadLens(layer, float(decision.scores(logits, rows)), probability))
    return lenses


def layer_outputs(backbone: GPT, run: Callable[[], Output]) -> Iterator[tuple[str, Output]]:
    """Yield the output of a model for the residual stream of each layer, with the name of the layer.

    The last output is that of the model, bit for bit.

    Args:
        backbone: backbone of the model.
        run: function that runs the model, whose forward passes are the same in each call.
    """
    layers = ["embedding", *(f"blocks.{number}" for number in range(len(backbone.blocks)))]
    with record(backbone, layers) as recorded:
        run()
    for layer in layers:
        with _blocks_return(backbone, recorded[layer]):
            output = run()
        yield layer, output


@contextmanager
def _blocks_return(backbone: GPT, streams: Sequence[Tensor]) -> Iterator[None]:
    """Replace the blocks by recorded residual streams, one for each forward pass."""
    remaining = iter(streams)
    backbone.run_blocks = lambda *_: next(remaining)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del backbone.run_blocks
