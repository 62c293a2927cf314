"""How well text is predicted, weighted by tokens whatever the batches and ranks."""

import math

import torch
from torch import Tensor
from torchmetrics import Metric


class LanguageModelingMetrics(Metric):
    """Mean negative log-likelihood a token, perplexity, and bits a UTF-8 byte.

    Sums are kept and added up over ranks; the division and the ``exp`` happen once, at the end.
    """

    full_state_update = False
    nll: Tensor
    nll_rounding: Tensor
    num_tokens: Tensor
    num_bytes: Tensor

    def __init__(self) -> None:
        super().__init__()
        # A long validation adds up very many numbers. What float32 rounds away at each is kept apart (Neumaier's sum),
        # because float64 does not exist on every device.
        self.add_state("nll", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("nll_rounding", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("num_tokens", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_bytes", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, mean_loss: Tensor, num_tokens: Tensor, num_bytes: Tensor) -> None:
        """Add a batch.

        Args:
            mean_loss: () nats, the mean over the labelled tokens.
            num_tokens: () labelled tokens.
            num_bytes: (B,) UTF-8 bytes that they spell.
        """
        nll = mean_loss.detach().float() * num_tokens
        total = self.nll + nll
        self.nll_rounding = self.nll_rounding + ((self.nll - total) + nll)  # not in place: float32 also in a bf16 model
        self.nll = total
        self.num_tokens += num_tokens
        self.num_bytes += num_bytes.sum()

    def compute(self) -> dict[str, Tensor]:
        """``loss`` in nats, ``perplexity``, and ``bits_per_byte``: () float32."""
        nll = self.nll.cpu().double() + self.nll_rounding.cpu().double()
        loss = nll / self.num_tokens.cpu()
        values = {
            "loss": loss,
            "perplexity": loss.exp(),
            "bits_per_byte": nll / math.log(2.0) / self.num_bytes.cpu(),
        }
        return {name: value.float().to(self.nll.device) for name, value in values.items()}


def unigram_cross_entropy(train: Tensor, text: Tensor, vocab_size: int) -> float:
    """What a model reaches that knows how often each token occurs and nothing else: nats a token of ``text``.

    Args:
        train: (N,) int64 tokens that are counted; every id counts as seen once more, so that none is impossible.
        text: (M,) int64 tokens that are predicted.
        vocab_size: number of ids.
    """
    counts = torch.bincount(train, minlength=vocab_size).double() + 1.0
    return float(-(counts / counts.sum()).log()[text].mean())
