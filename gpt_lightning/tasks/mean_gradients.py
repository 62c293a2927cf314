"""Micro-batches between two optimizer steps, whose gradients become those of the mean over all their labels.

Whatever the labels' share of each micro-batch, rank or ragged end: every micro-batch sends back the *sum* of its
losses, and the sum of gradients is divided once by the number of labels.
"""

from collections.abc import Iterable
from typing import Final

import torch
from lightning.pytorch.strategies import FSDPStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

LOSS_SCALE: Final = 1.0 / 1024.0
"""Sums of losses go back this much smaller, so that float16 holds them; a power of two rounds nothing away."""


class Window:
    """What is known of the micro-batches since the last optimizer step."""

    def __init__(self) -> None:
        self._total: Tensor | None = None
        self._ids: list[list[str]] = []

    def __len__(self) -> int:
        """How many micro-batches wait for the step."""
        return len(self._ids)

    def add(self, loss: Tensor, weight: Tensor, ids: list[str]) -> Tensor:
        """Count a micro-batch.

        Args:
            loss: (), the mean over its labels.
            weight: (), how many they are, or their weights' sum.
            ids: what its rows are called.

        Returns:
            (), the scaled sum of losses, for the backward pass.
        """
        mean = loss.detach().float()
        # A micro-batch without labels adds nothing, be its mean nan.
        total = torch.stack((weight.float(), torch.where(weight > 0, mean * weight, 0.0)))
        self._total = total if self._total is None else self._total + total
        self._ids.append(ids)
        return loss * (weight * LOSS_SCALE)

    def close(self) -> tuple[Tensor, list[str]]:
        """Begin anew.

        Returns:
            (2,), this rank's labels and the sum of their losses, and what its rows are called.
        """
        assert self._total is not None, "a step without a micro-batch"
        total, ids = self._total, [name for batch in self._ids for name in batch]
        self._total, self._ids = None, []
        return total, ids


def gradient_norm(gradients: Iterable[Tensor], strategy: Strategy) -> Tensor:
    """The Euclidean norm of all gradients, also where each rank holds a part of them."""
    norm = nn.utils.get_total_norm(gradients)
    if isinstance(norm, DTensor):  # ModelParallelStrategy
        return norm.full_tensor()
    if isinstance(strategy, FSDPStrategy):
        return strategy.reduce(norm.square(), reduce_op="sum").sqrt()
    return norm
