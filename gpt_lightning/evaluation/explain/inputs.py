"""Token ids to explain, as tensors."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models.gpt import GPT


def row_of(backbone: GPT, ids: Sequence[int], noun: str = "text") -> Tensor:
    """Return token ids as a batch of one row, (1, T) int64 on the device of the backbone.

    Args:
        backbone: model that reads the ids.
        ids: token ids.
        noun: name of the text in error messages.

    Raises:
        InputError: there are no ids, or more than fit ``block_size``.
    """
    block_size = backbone.config.block_size
    if not ids:
        raise InputError(f"the {noun} has no tokens. Give a {noun} that is not empty")
    if len(ids) > block_size:
        raise InputError(f"the {noun} has {len(ids)} tokens, but the model reads at most {block_size}. Shorten it")
    return torch.tensor([list(ids)], device=backbone.token_embedding.weight.device)


def prompt_mask(row: Tensor, num_prompt_tokens: int) -> Tensor:
    """Return the ``prefix_mask`` of a batch of one row, (1, T) bool.

    Args:
        row: (1, T) token ids.
        num_prompt_tokens: number of first tokens that form the prompt, which ``prefix`` attention reads in both
            directions.
    """
    return (torch.arange(row.size(1), device=row.device) < num_prompt_tokens).unsqueeze(0)
