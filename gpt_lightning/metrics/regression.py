"""Errors and correlations of predicted numbers."""

import torch
from torch import Tensor

from gpt_lightning.metrics.loss import MeanLoss


class RegressionMetrics(MeanLoss):
    """Loss, mean squared and absolute error, and the correlations of Pearson and Spearman.

    The values of all rows are kept, because ranks need all of them.
    """

    predictions: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("predictions", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, mean_loss: Tensor, weight: Tensor, predictions: Tensor, targets: Tensor) -> None:
        """Add a batch.

        Args:
            mean_loss: (), mean over the labeled rows.
            weight: (), number of labeled rows.
            predictions: (B,) float.
            targets: (B,) float; rows with NaN are not counted.
        """
        self.add_loss(mean_loss, weight)
        counted = ~targets.isnan()
        self.predictions.append(predictions.detach().float()[counted])
        self.targets.append(targets.float()[counted])

    def compute(self) -> dict[str, Tensor]:
        """Return ``loss``, ``mse``, ``mae``, ``pearson`` and ``spearman``; shape (), float32.

        A correlation is NaN if all predictions or all targets are equal.
        """
        predictions, targets = (_join(values) for values in (self.predictions, self.targets))
        errors = predictions - targets
        values = {
            "loss": self.mean_loss(),
            "mse": errors.square().mean(),
            "mae": errors.abs().mean(),
            "pearson": pearson(predictions, targets),
            "spearman": pearson(ranks(predictions), ranks(targets)),
        }
        return self.to_float32(values)


def _join(values: list[Tensor] | Tensor) -> Tensor:
    """Return values of all batches, float64 on the CPU; torchmetrics has joined those of several ranks."""
    return torch.cat([values] if isinstance(values, Tensor) else values).cpu().double()


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Return the correlation of two float64 vectors, (N,); NaN if one of them is constant."""
    if len(a) == 0 or a.min() == a.max() or b.min() == b.max():
        return torch.tensor(torch.nan, dtype=torch.float64)
    a, b = a - a.mean(), b - b.mean()
    correlation: Tensor = (a @ b) / (a.norm() * b.norm())
    return correlation


def ranks(values: Tensor) -> Tensor:
    """Return the rank of each value, (N,) float64; equal values share the mean of their ranks, as in SciPy."""
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    mean_ranks: Tensor = last - (counts - 1) / 2
    return mean_ranks[inverse]
