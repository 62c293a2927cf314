"""Loss, perplexity and bits per byte of language models."""

import math

import torch
from torch import Tensor

from gpt_lightning.metrics.loss import MeanLoss


class LanguageModelingMetrics(MeanLoss):
    """Mean negative log-likelihood per token, perplexity, and bits per UTF-8 byte.

    Sums are accumulated over batches and ranks. The division and ``exp`` happen once, in ``compute``.
    """

    num_bytes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("num_bytes", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, mean_loss: Tensor, num_tokens: Tensor, num_bytes: Tensor) -> None:
        """Add a batch.

        Args:
            mean_loss: (), mean over the labeled tokens, in nats.
            num_tokens: (), number of labeled tokens.
            num_bytes: (B,), UTF-8 bytes of the labeled tokens of each row.
        """
        self.add_loss(mean_loss, num_tokens)
        self.num_bytes += num_bytes.sum()

    def compute(self) -> dict[str, Tensor]:
        """Return ``loss`` in nats, ``perplexity`` and ``bits_per_byte``; shape (), float32."""
        loss = self.mean_loss()
        bits = self.total_loss() / math.log(2.0)
        return self.to_float32(
            {"loss": loss, "perplexity": loss.exp(), "bits_per_byte": bits / self.num_bytes.cpu().double()}
        )


def unigram_cross_entropy(train: Tensor, text: Tensor, vocab_size: int) -> float:
    """Return the cross-entropy of a unigram model with add-one smoothing, in nats per token of ``text``.

    Args:
        train: (N,) int64, tokens whose frequencies define the model.
        text: (M,) int64, tokens to predict.
        vocab_size: number of token ids.
    """
    counts = torch.bincount(train, minlength=vocab_size).double() + 1.0
    return float(-(counts / counts.sum()).log()[text].mean())
