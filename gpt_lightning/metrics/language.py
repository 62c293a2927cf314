"""Loss, perplexity and bits per byte, weighted by tokens."""

import math

import torch
from torch import Tensor

from gpt_lightning.metrics.loss import MeanLoss


class LanguageModelingMetrics(MeanLoss):
    """Mean negative log-likelihood a token, perplexity, and bits a UTF-8 byte.

    Sums are kept and added up over ranks; the division and the ``exp`` happen once, at the end.
    """

    num_bytes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("num_bytes", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, mean_loss: Tensor, num_tokens: Tensor, num_bytes: Tensor) -> None:
        """Add a batch.

        Args:
            mean_loss: () nats, the mean over the labeled tokens.
            num_tokens: () labeled tokens.
            num_bytes: (B,) UTF-8 bytes that they spell.
        """
        self.add_loss(mean_loss, num_tokens)
        self.num_bytes += num_bytes.sum()

    def compute(self) -> dict[str, Tensor]:
        """``loss`` in nats, ``perplexity``, and ``bits_per_byte``: () float32."""
        loss = self.mean_loss()
        bits = self.total_loss() / math.log(2.0)
        return self.to_float32(
            {"loss": loss, "perplexity": loss.exp(), "bits_per_byte": bits / self.num_bytes.cpu().double()}
        )


def unigram_cross_entropy(train: Tensor, text: Tensor, vocab_size: int) -> float:
    """What a model reaches that knows how often each token occurs and nothing else: nats a token of ``text``.

    Args:
        train: (N,) int64 tokens that are counted; every id counts as seen once more, so that none is impossible.
        text: (M,) int64 tokens that are predicted.
        vocab_size: number of ids.
    """
    counts = torch.bincount(train, minlength=vocab_size).double() + 1.0
    return float(-(counts / counts.sum()).log()[text].mean())
