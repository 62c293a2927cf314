"""Batched generation for prompts of different lengths.

B batch, T tokens, C channels, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.generate import Sampling
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.kv_cache import KVCache

_MAX_ACTIVE_SHARE: Final = 0.75
"""Finished rows are removed from the cache once at most this share of its rows is active, since removal copies them."""


def pad_rows(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return rows of different lengths as (B, T) int64 ids, padded with zeros on the right, and (B,) int64 lengths."""
    lengths = torch.tensor([len(row) for row in rows])
    ids_BT = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
    for ids, row in zip(ids_BT, rows, strict=True):
        ids[: len(row)] = torch.tensor(row)
    return ids_BT.to(device), lengths.to(device)


@torch.inference_mode()
def generate_batched(
    backbone: GPT,
    head: Callable[[Tensor], Tensor],
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    sampling: Sampling,
    is_finished: Callable[[list[int]], bool],
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """Return the continuation of each prompt; each is the same as without the other prompts, except for rounding.

    Args:
        backbone: the backbone, in ``eval`` mode.
        head: maps hidden states (B, C) to logits (B, V).
        prompts: token ids, at least one for each prompt.
        max_new_tokens: maximum number of new tokens. Together with the max_length prompt, they must fit ``block_size``.
        sampling: the sampling strategy.
        is_finished: returns True if a continuation is complete; called after each token with the new tokens so far.
        generator: the random number generator; None takes torch's default.

    Returns:
        The new tokens of each prompt, including the one that completed it.

    Raises:
        InputError: the max_length prompt and the new tokens do not fit ``block_size``, or the logits are not finite.
    """
    weight, max_length = backbone.token_embedding.weight, max(map(len, prompts))
    if max_length + max_new_tokens > backbone.config.block_size:
        raise InputError(
            f"a prompt of {max_length} tokens and {max_new_tokens} new tokens exceed block_size="
            f"{backbone.config.block_size}. Truncate the prompt on the left, or generate fewer tokens"
        )
    cache = KVCache(
        backbone.config, len(prompts), capacity=max_length + max_new_tokens, device=weight.device, dtype=weight.dtype
    )
    ids_BT, lengths_B = pad_rows(prompts, weight.device)
    mask_BT = torch.arange(max_length, device=weight.device) < lengths_B.unsqueeze(1)
    decoder = Decoder(backbone)
    hidden_BTC = decoder(ids_BT, cache, mask_BT)
    last_BC = hidden_BTC[torch.arange(len(prompts), device=weight.device), lengths_B - 1]
    continuations: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))  # indices of the prompts in the rows of the cache
    active = set(rows)
    for step in range(max_new_tokens):
        drawn_B1 = sampling.draw(head(last_BC), generator)
        for row, token in zip(rows, drawn_B1.flatten().tolist(), strict=True):
            if row in active:
                continuations[row].append(token)
                if is_finished(continuations[row]):
                    active.remove(row)
        if not active or step == max_new_tokens - 1:
            break
        if len(active) <= _MAX_ACTIVE_SHARE * len(rows):
            kept = torch.tensor([index for index, row in enumerate(rows) if row in active], device=weight.device)
            rows = [row for row in rows if row in active]
            cache.select_rows(kept)
            drawn_B1 = drawn_B1[kept]
        last_BC = decoder(drawn_B1, cache)[:, -1]
    return continuations
