"""Attention masks.

B batch, T tokens, S tokens attended to, the cached ones first.
"""

import torch
from torch import Tensor


def dense_mask(
    num_tokens: int,
    past: int,
    *,
    causal: bool,
    attention_mask: Tensor | None,
    document_ids: Tensor | None,
    prefix_mask: Tensor | None = None,
    device: torch.device,
) -> tuple[bool, Tensor | None]:
    """Return the attention mask of rows with equal numbers of cached tokens.

    Args:
        num_tokens: T, the number of new tokens.
        past: number of cached tokens of each row.
        causal: True if a token attends only to itself and to earlier tokens.
        attention_mask: (B, T), nonzero for tokens, 0 for padding, which must be on the right.
        document_ids: (B, T) int64; a token attends only to its own document.
        prefix_mask: (B, T) bool, True for the tokens of prompts, which attend to their whole prompt even if ``causal``
            is True. A row may have several prompts, with other tokens between them. Not supported with cached tokens.
        device: device of the mask.

    Returns:
        ``is_causal`` and ``mask``, as in ``AttentionInputs``. If ``is_causal`` is True, the mask is None.
    """
    mask: Tensor | None = None
    # With padding on the right, causal attention from a token never reaches it.
    if attention_mask is not None and not causal:
        mask = attention_mask.bool()[:, None, None, :]
    if document_ids is not None:
        same_document = document_ids[:, None, :, None] == document_ids[:, None, None, :]
        mask = same_document if mask is None else mask & same_document
    if not causal or num_tokens == 1:  # a single new token attends to everything before it
        return False, mask
    if mask is None and past == 0 and prefix_mask is None:
        return True, None
    total = past + num_tokens
    causal_mask = torch.ones(num_tokens, total, dtype=torch.bool, device=device).tril(past)
    if prefix_mask is not None:
        causal_mask = causal_mask | same_prompt(prefix_mask.bool())
    return False, causal_mask if mask is None else mask & causal_mask


def same_prompt(prefix_BT: Tensor) -> Tensor:
    """Return whether two tokens belong to the same prompt, (B, 1, T, T) bool.

    A prompt is an uninterrupted run of prompt tokens. A later prompt of a conversation may reveal the answers before
    it, so earlier prompts must not attend to it.

    Args:
        prefix_BT: True for the tokens of prompts.
    """
    run_BT = (~prefix_BT).cumsum(1).masked_fill(~prefix_BT, -1)
    is_same_BTT = (run_BT.unsqueeze(2) == run_BT.unsqueeze(1)) & prefix_BT.unsqueeze(1)
    return is_same_BTT.unsqueeze(1)


def ragged_mask(positions_BT: Tensor, total: int) -> Tensor:
    """Return the causal mask of rows with different numbers of cached tokens, (B, 1, T, S) bool.

    Args:
        positions_BT: position of each token, which is also its slot in the cache.
        total: S, the number of cache slots in use.
    """
    slots_S = torch.arange(total, device=positions_BT.device)
    return (slots_S <= positions_BT.unsqueeze(-1)).unsqueeze(1)
