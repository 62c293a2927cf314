"""Batched generation for prompts of different lengths.

B batch, T tokens, C channels, V vocabulary.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final

import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models.generation.answer import Answer
from gpt_lightning.models.generation.decoder import TextDecoder
from gpt_lightning.models.generation.generate import Sampling, process_logits, token_logprobs
from gpt_lightning.models.generation.logits_processors import LogitsProcessor, pad_left
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
    decoder: TextDecoder,
    head: Callable[[Tensor], Tensor],
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    sampling: Sampling = Sampling(temperature=0.0),
    stop_ids: Collection[int] = (),
    is_finished: Callable[[list[int]], bool] | None = None,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    logits_processors: Sequence[LogitsProcessor] = (),
    with_logprobs: bool = False,
) -> list[Answer]:
    """Return the continuation of each prompt; each is the same as without the other prompts, except for rounding.

    Args:
        decoder: the model, such as a ``Decoder`` of a backbone in ``eval`` mode.
        head: maps hidden states (B, C) to logits (B, V).
        prompts: token ids, at least one for each prompt.
        max_new_tokens: maximum number of new tokens. Together with the longest prompt, they must fit ``block_size``.
        sampling: the sampling strategy; the default is greedy decoding.
        stop_ids: tokens that complete a continuation. They are not part of it.
        is_finished: returns True if a continuation is complete; called after each token with the new tokens so far,
            which stay part of the continuation.
        generator: the random number generator, or one for each prompt; None takes torch's default. A sampled text
            depends on the other prompts unless each prompt has its own generator.
        logits_processors: rules that change the logits before a token is drawn, in this order.
        with_logprobs: return the log-probabilities of the new tokens.

    Raises:
        InputError: the longest prompt and the new tokens do not fit ``block_size``, or the logits are not finite.
    """
    cache, hidden_BC = prefill(decoder, prompts, max_new_tokens)
    device = hidden_BC.device
    generators = generator if isinstance(generator, Sequence) else None
    text_BT = pad_left(prompts, device) if logits_processors else None
    # Texts that are finished may run out of allowed tokens, so the logits processors never see them.
    max_active_share = 1.0 if logits_processors else _MAX_ACTIVE_SHARE
    new_ids: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))  # indices of the prompts in the rows of the cache
    active, complete = set(rows), set[int]()
    stopped: dict[int, int] = {}  # stop token by index of the prompt
    for step in range(max_new_tokens):
        of_rows = generator if generators is None else [generators[row] for row in rows]
        logits_BV = head(hidden_BC)
        processed_BV = logits_BV if text_BT is None else process_logits(logits_processors, logits_BV, text_BT, step)
        drawn_B1 = sampling.draw(processed_BV, of_rows)
        drawn_logprobs = token_logprobs(logits_BV, drawn_B1).tolist() if with_logprobs else []
        for index, (row, token) in enumerate(zip(rows, drawn_B1.flatten().tolist(), strict=True)):
            if row not in active:
                continue
            if token in stop_ids:
                stopped[row] = token
            else:
                new_ids[row].append(token)
                logprobs[row] += drawn_logprobs[index : index + 1]
            if row in stopped or (is_finished is not None and is_finished(new_ids[row])):
                active.remove(row)
                complete.add(row)
        if not active or step == max_new_tokens - 1:
            break
        if text_BT is not None:
            text_BT = torch.cat((text_BT, drawn_B1), dim=1)
        if len(active) < len(rows) and len(active) <= max_active_share * len(rows):
            kept = torch.tensor([index for index, row in enumerate(rows) if row in active], device=device)
            rows = [row for row in rows if row in active]
            cache.select_rows(kept)
            drawn_B1, text_BT = drawn_B1[kept], None if text_BT is None else text_BT[kept]
        hidden_BC = decoder(drawn_B1, cache)[:, -1]
    return [Answer(ids, row in complete, tuple(logprobs[row]), stopped.get(row)) for row, ids in enumerate(new_ids)]


def prefill(decoder: TextDecoder, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> tuple[KVCache, Tensor]:
    """Process the prompts, and return the cache and the hidden state of the last token of each, (B, C).

    Args:
        decoder: the model.
        prompts: token ids, at least one for each prompt.
        max_new_tokens: number of tokens that the cache has room for after the longest prompt.

    Raises:
        InputError: the longest prompt and the new tokens do not fit ``block_size``.
    """
    longest, block_size = max(map(len, prompts)), decoder.config.block_size
    if longest + max_new_tokens > block_size:
        raise InputError(
            f"a prompt of {longest} tokens and {max_new_tokens} new tokens exceed block_size={block_size}. "
            "Truncate the prompt on the left, or generate fewer tokens"
        )
    cache = decoder.make_cache(len(prompts), longest + max_new_tokens)
    ids_BT, lengths_B = pad_rows(prompts, cache.device)
    mask_BT = torch.arange(longest, device=cache.device) < lengths_B.unsqueeze(1)
    hidden_BTC = decoder(ids_BT, cache, mask_BT)
    return cache, hidden_BTC[torch.arange(len(prompts), device=cache.device), lengths_B - 1]
