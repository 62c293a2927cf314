"""Log-probabilities of given tokens, with logits only where they are needed.

B batch, T tokens, C channels, V vocabulary, N positions that are asked for, U of them different ones.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gpt_lightning.evaluation.lm_eval.batching import Row, batches, shared_rows
from gpt_lightning.models.generation.batched import pad_rows
from gpt_lightning.models.gpt import GPT
from gpt_lightning.tasks import CausalLM

_LOGITS_AT_ONCE: Final = 1 << 23
"""Numbers of a part of the logits: large enough for fast matrix products, small enough to stay near the processor."""


@dataclass(frozen=True)
class Continuation:
    """Tokens whose probability is asked for, and what stands before them."""

    context: Sequence[int]
    tokens: Sequence[int]


@dataclass(frozen=True)
class Score:
    """How likely a continuation is."""

    log_probability: float
    """In nats, the sum over its tokens."""
    is_greedy: bool
    """Whether each of its tokens is the likeliest."""


def score(task: CausalLM, continuations: Sequence[Continuation], max_tokens: int) -> Iterator[tuple[int, Score]]:
    """Yield the number of each continuation and its score, as they are computed: the longest first.

    Args:
        task: in ``eval`` mode.
        continuations: context and tokens, at least one each, without the last fit ``block_size``.
        max_tokens: of a batch, padding included.
    """
    inputs = [[*each.context, *each.tokens[:-1]] for each in continuations]
    rows = shared_rows(inputs, task.backbone.config.n_embd, max_tokens)
    for batch in batches([len(row.tokens) for row in rows], max_tokens):
        yield from _score_rows(task, [rows[number] for number in batch], continuations)


@torch.inference_mode()
def _score_rows(task: CausalLM, rows: Sequence[Row], continuations: Sequence[Continuation]) -> list[tuple[int, Score]]:
    device = task.device
    ids_BT, _ = pad_rows([row.tokens for row in rows], device)
    forked = any(row.is_forked for row in rows)
    if forked:
        hidden_BTC = hidden_states_of_branches(
            task.backbone, ids_BT, pad_rows([row.positions for row in rows], device)[0]
        )
    else:
        hidden_BTC = task.backbone.forward(ids_BT)  # ``forward``, because a compiled call would compile for each shape
    places: list[int] = []
    targets: list[int] = []
    numbers: list[int] = []
    for place, row in enumerate(rows):
        for number, where in row.places.items():
            tokens = continuations[number].tokens
            places += (place * ids_BT.size(1) + here for here in where[-len(tokens) :])
            targets += tokens
            numbers.append(number)
    log_p_N, greedy_N = likelihoods(
        task.head,
        hidden_BTC.flatten(0, 1),
        torch.tensor(places, device=device),
        torch.tensor(targets, device=device),
        at_once=max(1, _LOGITS_AT_ONCE // task.backbone.token_embedding.num_embeddings),
    )
    sizes = [len(continuations[number].tokens) for number in numbers]
    each = zip(numbers, torch.split(log_p_N.cpu(), sizes), torch.split(greedy_N.cpu(), sizes), strict=True)
    return [(number, Score(float(log_p.sum()), bool(greedy.all()))) for number, log_p, greedy in each]


def hidden_states_of_branches(gpt: GPT, input_ids: Tensor, positions_BT: Tensor) -> Tensor:
    """Return the hidden states of rows that hold several texts with a common beginning, after the last norm.

    Args:
        gpt: a causal backbone.
        input_ids: (B, T) int64.
        positions_BT: each token's position in its own text. A position that does not follow the one before it starts a
            branch, which continues the tokens before that position.

    Returns:
        (B, T, C), for each text the same as without the others.

    Raises:
        InputError: a text does not fit ``block_size``.
    """
    gpt.check_length(int(positions_BT.max()) + 1)
    inputs = gpt.attention_inputs(positions_BT, is_causal=False, mask=branch_mask(positions_BT), cache=None)
    hidden_BTC: Tensor = gpt.norm(gpt.run_blocks(gpt.embed(input_ids, positions_BT), inputs))
    return hidden_BTC


def branch_mask(positions_BT: Tensor) -> Tensor:
    """Return the mask of such rows, (B, 1, T, T) bool: a token attends to its own text up to itself.

    These are the last tokens of every position up to its own. A later token of the same position ends a branch, and
    longer branches reach beyond the token's own position.
    """
    num_tokens = positions_BT.size(1)
    order_BT = positions_BT.argsort(dim=1, stable=True)
    sorted_BT = positions_BT.gather(1, order_BT)
    # The next token of the same position, from which on a token is no longer attended to.
    follower_BT = torch.where(sorted_BT[:, 1:] == sorted_BT[:, :-1], order_BT[:, 1:], num_tokens)
    until_BT = torch.full_like(positions_BT, num_tokens).scatter(1, order_BT[:, :-1], follower_BT)
    place_T = torch.arange(num_tokens, device=positions_BT.device)
    seen_BTT = (place_T <= place_T.unsqueeze(1)) & (place_T.unsqueeze(1) < until_BT.unsqueeze(1))
    return (seen_BTT & (positions_BT.unsqueeze(1) <= positions_BT.unsqueeze(2))).unsqueeze(1)


def likelihoods(
    head: Callable[[Tensor], Tensor], hidden_MC: Tensor, places_N: Tensor, targets_N: Tensor, *, at_once: int
) -> tuple[Tensor, Tensor]:
    """Log-probability of each target, and whether it is the likeliest token.

    Args:
        head: hidden states (U, C) to logits (U, V).
        hidden_MC: hidden states.
        places_N: which of them each target follows; those that are asked for twice are computed once.
        targets_N: token ids.
        at_once: so many positions have logits at the same time.

    Returns:
        (N,) float32, nats; (N,) bool.
    """
    places_U, of_N = torch.unique(places_N, return_inverse=True)
    log_p_N = torch.empty(len(targets_N), device=hidden_MC.device)
    greedy_N = torch.empty(len(targets_N), dtype=torch.bool, device=hidden_MC.device)
    for start in range(0, len(places_U), at_once):
        log_p_UV = head(hidden_MC[places_U[start : start + at_once]]).float().log_softmax(-1)
        asked = ((of_N >= start) & (of_N < start + at_once)).nonzero().squeeze(1)
        which, targets = of_N[asked] - start, targets_N[asked]
        chosen = log_p_UV[which, targets]
        log_p_N[asked] = chosen
        # A seventh of the time of argmax, which is left for the few that are as likely as the likeliest.
        likeliest = chosen == log_p_UV.amax(-1)[which]
        likeliest[likeliest.clone()] = log_p_UV[which[likeliest]].argmax(-1) == targets[likeliest]
        greedy_N[asked] = likeliest
    return log_p_N, greedy_N
