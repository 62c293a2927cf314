"""Embeddings of texts, pooled from the hidden states of the backbone.

B texts, T tokens, C channels.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gpt_lightning.batch import ends_with_token
from gpt_lightning.errors import InputError
from gpt_lightning.models.encoder_decoder import EncoderDecoder
from gpt_lightning.models.generation.batched import pad_rows
from gpt_lightning.tasks import CausalLM, Task
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.tokenizers.prompt import text_prompt
from gpt_lightning.tokenizers.tokenizer import Tokenizer


@torch.inference_mode()
def embed(
    task: Task, tokenizer: Tokenizer, texts: Sequence[str], pooling: Literal["mean", "last"], batch_size: int
) -> Tensor:
    """Return the embeddings of texts, (N, C) float32 on the CPU.

    Args:
        task: task with the backbone.
        tokenizer: tokenizer of the task.
        texts: N texts.
        pooling: ``mean`` over all tokens, or the hidden state of the ``last`` token.
        batch_size: number of texts per forward pass.

    Raises:
        InputError: the pooling is unknown, or the task reads its texts twice.
    """
    if pooling not in ("mean", "last"):
        raise InputError(f"pooling={pooling!r} must be mean or last")
    task.layout.check_read_once("embed", "Use a model that was trained with layout.copies=1")
    rows = input_ids(task, tokenizer, texts)
    parts = [pool(task, rows[start : start + batch_size], pooling) for start in range(0, len(rows), batch_size)]
    return torch.cat([torch.empty(0, task.backbone.config.n_embd), *parts])


def input_ids(task: Task, tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return the input ids of each text, truncated to ``block_size``; an empty text has at least one."""
    if isinstance(task, CausalLM):
        layout = InputLayout.published(tokenizer)
        encoded = [tokenizer.encode_published(text, add_special_tokens=False) for text in texts]
    else:
        layout = task.layout.complete(tokenizer, ends_with_token=ends_with_token(task.batch))
        encoded = [ids.tolist() for ids in tokenizer.encode_batch(texts)]
    block_size, empty = task.backbone.config.block_size, text_prompt(tokenizer, "")
    return [layout.input_ids([np.array(ids, dtype=np.int64)], block_size).tolist() or empty for ids in encoded]


def pool(task: Task, rows: list[list[int]], pooling: Literal["mean", "last"]) -> Tensor:
    """Return the pooled hidden states of rows of token ids, (B, C) float32 on the CPU."""
    ids_BT, lengths_B = pad_rows(rows, task.device)
    mask_BT = torch.arange(ids_BT.size(1), device=task.device) < lengths_B.unsqueeze(1)
    backbone = task.backbone
    encoder = backbone.encoder if isinstance(backbone, EncoderDecoder) else backbone
    hidden_BTC = encoder(ids_BT, attention_mask=mask_BT).float()
    if pooling == "last":
        last_BC: Tensor = hidden_BTC[torch.arange(len(rows)), lengths_B - 1]
        return last_BC.cpu()
    mean_BC: Tensor = (hidden_BTC * mask_BT.unsqueeze(-1)).sum(1) / lengths_B.unsqueeze(1)
    return mean_BC.cpu()
