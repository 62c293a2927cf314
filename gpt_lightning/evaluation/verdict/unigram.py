"""Unigram model of a training text, the trivial baseline of language models."""

import itertools
from typing import Final

import torch
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.data.language_modeling import LanguageModeling

# B rows, T tokens, V vocabulary

MAX_CHARACTERS: Final = 5_000_000
"""Number of characters of the training text whose tokens are counted."""
_BATCH_PIECES: Final = 64


def unigram_log_probabilities(data: LanguageModeling) -> Tensor:
    """Return the log probability of each token in the beginning of the training text, (V,) float64.

    The counts are smoothed by adding one.
    """
    counts_V = torch.ones(data.vocab_size, dtype=torch.float64)
    counts_V[data.tokenizer.end_of_text_id] += 1.0  # after the last document; the others precede documents
    pieces, num_characters = data.pieces("train"), 0
    while num_characters < MAX_CHARACTERS and (batch := list(itertools.islice(pieces, _BATCH_PIECES))):
        num_characters += sum(len(piece.text) for piece in batch)
        for ids in data.tokenizer.encode_batch([piece.text for piece in batch]):
            counts_V += torch.bincount(torch.from_numpy(ids), minlength=data.vocab_size)
        counts_V[data.tokenizer.end_of_text_id] += sum(piece.starts_document for piece in batch)
    return (counts_V / counts_V.sum()).log()


def negative_log_likelihoods(log_probabilities_V: Tensor, labels_BT: Tensor) -> Tensor:
    """Return the negative log-likelihood of the labels of each row, (B,) float64, in nats."""
    labels_BT = labels_BT.cpu()
    nll_BT = -log_probabilities_V[labels_BT.clamp(min=0)]
    return nll_BT.masked_fill(labels_BT == IGNORE_INDEX, 0.0).sum(1)
