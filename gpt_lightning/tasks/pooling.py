"""Pooling of hidden states into one vector for each text."""

from typing import Literal

import torch
from torch import Tensor


def pool(hidden_BTC: Tensor, attention_mask: Tensor, pooling: Literal["last", "mean"]) -> Tensor:
    """Return the hidden state of the last token of each text, or the mean of all of its tokens: (B, C).

    Args:
        hidden_BTC: hidden states.
        attention_mask: (B, T) bool; False for padding, which is on the right.
        pooling: ``last`` or ``mean``.
    """
    if pooling == "last":
        last_B = attention_mask.sum(1) - 1
        return hidden_BTC[torch.arange(len(last_B), device=last_B.device), last_B]
    weights_BT = attention_mask / attention_mask.sum(1, keepdim=True)
    return (hidden_BTC * weights_BT.unsqueeze(-1).to(hidden_BTC.dtype)).sum(1)
