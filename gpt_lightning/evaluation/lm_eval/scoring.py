"""Log-probabilities of given tokens, with logits computed only at the positions that need them.

B batch, T tokens, C channels, V vocabulary, N targets, U distinct positions before a target, M all positions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gpt_lightning.evaluation.lm_eval.batching import Row, batches, separate_rows, shared_rows
from gpt_lightning.models.generation.batched import pad_rows
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.interventions import check_incremental
from gpt_lightning.tasks import CausalLM

_LOGITS_PER_CHUNK: Final = 1 << 23
"""Size of a chunk of logits: large enough for fast matrix products, small enough for the cache of a CPU."""


@dataclass(frozen=True)
class Continuation:
    """Tokens to score, after a context."""

    context: Sequence[int]
    tokens: Sequence[int]


@dataclass(frozen=True)
class Score:
    """Likelihood of a continuation."""

    log_probability: float
    """Sum over its tokens, in nats."""
    is_greedy: bool
    """True if greedy decoding would produce the continuation."""


def score(task: CausalLM, continuations: Sequence[Continuation], max_tokens: int) -> Iterator[tuple[int, Score]]:
    """Yield the index and the score of each continuation as they are computed, the longest first.

    Args:
        task: language model in ``eval`` mode.
        continuations: each has at least one context token and at least one token to score. All of its tokens except
            the last must fit into ``block_size``.
        max_tokens: maximum number of tokens in a batch, including padding.
    """
    inputs = [[*each.context, *each.tokens[:-1]] for each in continuations]
    config = task.backbone.config
    # With prefix attention, the hidden states of a context depend on where it ends, so texts share no prefix.
    rows = separate_rows(inputs) if config.attention == "prefix" else shared_rows(inputs, config.n_embd, max_tokens)
    for batch in batches([len(row.tokens) for row in rows], max_tokens):
        yield from _score_rows(task, [rows[number] for number in batch], continuations)


@torch.inference_mode()
def _score_rows(task: CausalLM, rows: Sequence[Row], continuations: Sequence[Continuation]) -> list[tuple[int, Score]]:
    device = task.device
    ids_BT, _ = pad_rows([row.tokens for row in rows], device)
    has_branches = any(row.has_branches for row in rows)
    if any(len(row.indices) > 1 for row in rows):
        check_incremental(task.backbone)
    if has_branches:
        hidden_BTC = hidden_states_of_branches(
            task.backbone, ids_BT, pad_rows([row.positions for row in rows], device)[0]
        )
    else:
        contexts = torch.tensor([len(continuations[next(iter(row.indices))].context) for row in rows], device=device)
        is_context_BT = torch.arange(ids_BT.size(1), device=device) < contexts.unsqueeze(1)
        # A compiled __call__ would be recompiled for each shape.
        hidden_BTC = task.backbone.forward(ids_BT, prefix_mask=is_context_BT)
    indices: list[int] = []
    targets: list[int] = []
    numbers: list[int] = []
    for row_number, row in enumerate(rows):
        for number, text_indices in row.indices.items():
            tokens = continuations[number].tokens
            indices += (row_number * ids_BT.size(1) + index for index in text_indices[-len(tokens) :])
            targets += tokens
            numbers.append(number)
    log_p_N, greedy_N = likelihoods(
        task.head,
        hidden_BTC.flatten(0, 1),
        torch.tensor(indices, device=device),
        torch.tensor(targets, device=device),
        chunk_size=max(1, _LOGITS_PER_CHUNK // task.backbone.token_embedding.num_embeddings),
    )
    sizes = [len(continuations[number].tokens) for number in numbers]
    each = zip(numbers, torch.split(log_p_N.cpu(), sizes), torch.split(greedy_N.cpu(), sizes), strict=True)
    return [(number, Score(float(log_p.sum()), bool(greedy.all()))) for number, log_p, greedy in each]


def hidden_states_of_branches(gpt: GPT, input_ids: Tensor, positions_BT: Tensor) -> Tensor:
    """Return the hidden states, after the final norm, of rows that hold several texts with common prefixes.

    Args:
        gpt: causal backbone.
        input_ids: (B, T) int64.
        positions_BT: (B, T) int64, each token's position in its own text. A position that does not follow the one
            before it starts a branch, which continues the tokens before that position.

    Returns:
        (B, T, C); the hidden states of a text do not depend on the other texts in its row.

    Raises:
        InputError: a text does not fit ``block_size``.
    """
    gpt.check_length(int(positions_BT.max()) + 1)
    inputs = gpt.attention_inputs(positions_BT, is_causal=False, mask=branch_mask(positions_BT), cache=None)
    hidden_BTC: Tensor = gpt.norm(gpt.run_blocks(gpt.embed(input_ids, positions_BT), inputs))
    return hidden_BTC


def branch_mask(positions_BT: Tensor) -> Tensor:
    """Return the attention mask of rows with branches, (B, 1, T, T) bool: a token attends to its own text up to itself.

    Its text consists of the last token in the row at each position up to its own. A later token of the same position
    ends a branch.
    """
    num_tokens = positions_BT.size(1)
    order_BT = positions_BT.argsort(dim=1, stable=True)
    sorted_BT = positions_BT.gather(1, order_BT)
    # A token is attended to only by tokens before the next token of the same position.
    follower_BT = torch.where(sorted_BT[:, 1:] == sorted_BT[:, :-1], order_BT[:, 1:], num_tokens)
    until_BT = torch.full_like(positions_BT, num_tokens).scatter(1, order_BT[:, :-1], follower_BT)
    index_T = torch.arange(num_tokens, device=positions_BT.device)
    visible_BTT = (index_T <= index_T.unsqueeze(1)) & (index_T.unsqueeze(1) < until_BT.unsqueeze(1))
    return (visible_BTT & (positions_BT.unsqueeze(1) <= positions_BT.unsqueeze(2))).unsqueeze(1)


def likelihoods(
    head: Callable[[Tensor], Tensor], hidden_MC: Tensor, indices_N: Tensor, targets_N: Tensor, *, chunk_size: int
) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each target, and whether it is the most probable token.

    Args:
        head: function from hidden states, (U, C), to logits, (U, V).
        hidden_MC: hidden states.
        indices_N: index of the hidden state that predicts each target; repeated indices are computed once.
        targets_N: token ids.
        chunk_size: number of positions whose logits are computed together.

    Returns:
        Log-probabilities in nats, (N,) float32, and flags, (N,) bool.
    """
    indices_U, of_N = torch.unique(indices_N, return_inverse=True)
    log_p_N = torch.empty(len(targets_N), device=hidden_MC.device)
    greedy_N = torch.empty(len(targets_N), dtype=torch.bool, device=hidden_MC.device)
    for start in range(0, len(indices_U), chunk_size):
        log_p_UV = head(hidden_MC[indices_U[start : start + chunk_size]]).float().log_softmax(-1)
        in_chunk = ((of_N >= start) & (of_N < start + chunk_size)).nonzero().squeeze(1)
        offsets, targets = of_N[in_chunk] - start, targets_N[in_chunk]
        chosen = log_p_UV[offsets, targets]
        log_p_N[in_chunk] = chosen
        # amax takes a seventh of the time of argmax, which then only breaks ties among the most probable tokens.
        is_greedy = chosen == log_p_UV.amax(-1)[offsets]
        is_greedy[is_greedy.clone()] = log_p_UV[offsets[is_greedy]].argmax(-1) == targets[is_greedy]
        greedy_N[in_chunk] = is_greedy
    return log_p_N, greedy_N
