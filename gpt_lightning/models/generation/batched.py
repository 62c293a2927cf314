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

_WORTH_COPYING: Final = 0.75
"""Texts that have ended leave the cache once no more than this share of its rows go on: leaving copies the others."""


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows of different lengths as one: (B, T) int64 ids, zeros on the right, and (B,) int64 lengths."""
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
    ended: Callable[[list[int]], bool],
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """Continue every prompt, as each would be continued alone.

    Args:
        backbone: in ``eval`` mode.
        head: hidden states (B, C) to logits (B, V).
        prompts: at least one token each.
        max_new_tokens: how many at most; with the longest prompt they must fit ``block_size``.
        sampling: how each is drawn.
        ended: whether a continuation is complete; it is asked after each token.
        generator: random numbers to draw with; torch's own otherwise.

    Returns:
        The new tokens of each, the one that completed it included.
    """
    weight, longest = backbone.token_embedding.weight, max(map(len, prompts))
    if longest + max_new_tokens > backbone.config.block_size:
        raise InputError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones do not fit block_size="
            f"{backbone.config.block_size}; cut the prompt from the left, or ask for fewer tokens"
        )
    cache = KVCache(
        backbone.config, len(prompts), capacity=longest + max_new_tokens, device=weight.device, dtype=weight.dtype
    )
    ids_BT, lengths_B = padded(prompts, weight.device)
    real_BT = torch.arange(longest, device=weight.device) < lengths_B.unsqueeze(1)
    decoder = Decoder(backbone)
    hidden_BTC = decoder(ids_BT, cache, real_BT)
    last_BC = hidden_BTC[torch.arange(len(prompts), device=weight.device), lengths_B - 1]
    texts: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))  # what the cache holds, row by row
    going = set(rows)
    for step in range(max_new_tokens):
        drawn_B1 = sampling.draw(head(last_BC), generator)
        for row, token in zip(rows, drawn_B1.flatten().tolist(), strict=True):
            if row in going:
                texts[row].append(token)
                if ended(texts[row]):
                    going.remove(row)
        if not going or step == max_new_tokens - 1:
            break
        if len(going) <= _WORTH_COPYING * len(rows):
            kept = torch.tensor([place for place, row in enumerate(rows) if row in going], device=weight.device)
            rows = [row for row in rows if row in going]
            cache.keep(kept)
            drawn_B1 = drawn_B1[kept]
        last_BC = decoder(drawn_B1, cache)[:, -1]
    return texts
