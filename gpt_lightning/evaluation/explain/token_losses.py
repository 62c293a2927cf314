"""Loss of each token of a text, with the tokens that the model expected.

T tokens, V vocabulary.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gpt_lightning.evaluation.explain.candidates import Candidate, TokenTexts, candidates, log_probabilities, ranks
from gpt_lightning.evaluation.explain.inputs import row_of
from gpt_lightning.evaluation.text_scores import rolling_windows
from gpt_lightning.tasks import CausalLM, Seq2SeqLM
from gpt_lightning.tokenizers.token_texts import token_texts
from gpt_lightning.tokenizers.tokenizer import Tokenizer

_LOGITS_PER_CHUNK: Final = 1 << 23
"""Maximum number of logits in memory at a time."""


@dataclass(frozen=True)
class TokenLoss:
    """Loss of one token of a text.

    Attributes:
        id: token id.
        text: text that the token adds to the text before it.
        loss: negative log-probability in nats.
        rank: rank of the token among all tokens by probability, from 1.
        alternatives: most probable tokens at this position, the most probable first.
    """

    id: int
    text: str
    loss: float
    rank: int
    alternatives: list[Candidate]


@torch.inference_mode()
def token_losses(
    task: CausalLM | Seq2SeqLM,
    tokenizer: Tokenizer,
    ids: Sequence[int],
    *,
    source_ids: Sequence[int] | None = None,
    num_alternatives: int = 5,
) -> list[TokenLoss]:
    """Return the loss of each token of a text.

    A language model reads texts of any length, in the windows of ``score_texts``, so the losses sum to its ``nll``.

    Args:
        task: language model or encoder-decoder in ``eval`` mode.
        tokenizer: tokenizer of the task.
        ids: token ids of the text, or of the target of an encoder-decoder, without tokens in front of it.
        source_ids: token ids of the source, only for encoder-decoders.
        num_alternatives: number of alternatives at each position.

    Raises:
        InputError: a source or a target is longer than ``block_size``.
    """
    predictions = _of_target(task, ids, source_ids) if isinstance(task, Seq2SeqLM) else _of_text(task, tokenizer, ids)
    return _losses(task, tokenizer, token_texts(tokenizer, ids), predictions, num_alternatives)


@torch.inference_mode()
def prompt_losses(
    task: CausalLM, tokenizer: Tokenizer, ids: Sequence[int], *, num_alternatives: int = 5
) -> list[TokenLoss]:
    """Return the loss of each token of a prompt after the tokens before it, without those of special tokens.

    The model reads the ids of the prompt and no others. Only a first token that belongs to the text is predicted after
    the begin-of-text token, because no token is before it. With ``prefix`` attention, tokens attend only to those
    before them here, because the loss of a token must not depend on that token.

    Args:
        task: language model in ``eval`` mode.
        tokenizer: tokenizer of the task.
        ids: token ids of the prompt, with its special tokens.
        num_alternatives: number of alternatives at each position.

    Raises:
        InputError: the prompt is empty or longer than ``block_size``.
    """
    predictions = _of_prompt(task, tokenizer, ids)
    found = _losses(task, tokenizer, token_texts(tokenizer, ids), predictions, num_alternatives)
    return [loss for loss in found if loss.id not in tokenizer.special_ids]


def _losses(
    task: CausalLM | Seq2SeqLM,
    tokenizer: Tokenizer,
    pieces: Iterable[str],
    predictions: Iterable[tuple[Tensor, Tensor]],
    num_alternatives: int,
) -> list[TokenLoss]:
    """Return the losses of tokens with these texts, given the hidden states before them, (T, C), and the ids, (T,)."""
    texts, losses, pieces = TokenTexts(tokenizer), list[TokenLoss](), iter(pieces)
    for hidden_TC, targets_T in predictions:
        size = max(1, _LOGITS_PER_CHUNK // task.backbone.token_embedding.num_embeddings)
        for hidden_NC, targets_N in zip(torch.split(hidden_TC, size), torch.split(targets_T, size), strict=True):
            log_p_NV = log_probabilities(task.head(hidden_NC))
            losses_N = -log_p_NV.gather(1, targets_N.unsqueeze(1)).squeeze(1)
            found = (targets_N.tolist(), pieces, losses_N.tolist(), ranks(log_p_NV, targets_N))
            losses += map(TokenLoss, *found, candidates(log_p_NV, num_alternatives, texts))
    return losses


def _of_text(task: CausalLM, tokenizer: Tokenizer, ids: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the hidden states before the tokens of each window, (T, C), and the tokens, (T,)."""
    block_size = task.backbone.config.block_size
    for window in rolling_windows(ids, tokenizer.begin_of_text_id, block_size):
        row = row_of(task.backbone, [*window.context, *window.tokens[:-1]])
        is_context = torch.arange(row.size(1), device=row.device) < len(window.context)
        hidden_TC = task.backbone(row, prefix_mask=is_context.unsqueeze(0))[0, -len(window.tokens) :]
        yield hidden_TC, torch.tensor(window.tokens, device=row.device)


def _of_prompt(task: CausalLM, tokenizer: Tokenizer, ids: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the hidden states before the tokens of a prompt, (T, C), and the tokens, (T,)."""
    row = row_of(task.backbone, ids)
    begin = row_of(task.backbone, [tokenizer.begin_of_text_id])
    yield task.backbone(begin)[0], row[0, :1]
    yield task.backbone(row)[0, :-1], row[0, 1:]


def _of_target(
    task: Seq2SeqLM, ids: Sequence[int], source_ids: Sequence[int] | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the hidden states before the tokens of a target, (T, C), and the tokens, (T,)."""
    if not ids:
        return
    row = row_of(task.backbone, [*task.start_ids(), *ids[:-1]], "target")
    hidden_BTC = task.backbone(row, source_ids=row_of(task.backbone, source_ids or [], "source"))
    yield hidden_BTC[0, -len(ids) :], torch.tensor(list(ids), device=row.device)
