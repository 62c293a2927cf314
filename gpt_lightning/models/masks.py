"""Attention masks.

B batch, T tokens, S tokens attended to (cached ones first).
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
    device: torch.device,
) -> tuple[bool, Tensor | None]:
    """Return the mask of rows that all have the same number of cached tokens.

    Args:
        num_tokens: T.
        past: cached tokens of every row.
        causal: whether a token attends to itself and earlier tokens only.
        attention_mask: (B, T), nonzero for real tokens; padding is on the right.
        document_ids: (B, T) int64; a token attends to its own document only.
        device: the device of the mask.

    Returns:
        Whether plain causal attention is enough, and otherwise the mask: (B or 1, 1, T, S) bool, or None where every
        token attends to all others.
    """
    mask: Tensor | None = None
    # Padding is on the right, so causal attention never reaches it from a real token.
    if attention_mask is not None and not causal:
        mask = attention_mask.bool()[:, None, None, :]
    if document_ids is not None:
        same = document_ids[:, None, :, None] == document_ids[:, None, None, :]
        mask = same if mask is None else mask & same
    if not causal or num_tokens == 1:  # a single new token attends to everything before it
        return False, mask
    if mask is None and past == 0:
        return True, None
    total = past + num_tokens
    triangle = torch.ones(num_tokens, total, dtype=torch.bool, device=device).tril(past)
    return False, triangle if mask is None else mask & triangle


def ragged_mask(positions_BT: Tensor, total: int) -> Tensor:
    """Return the mask of rows with different numbers of cached tokens: (B, 1, T, S) bool.

    Args:
        positions_BT: each token's position, which is its place in the cache too.
        total: S, the places of the cache that are in use.
    """
    places_S = torch.arange(total, device=positions_BT.device)
    return (places_S <= positions_BT.unsqueeze(-1)).unsqueeze(1)
