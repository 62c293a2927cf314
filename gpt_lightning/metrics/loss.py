"""The mean loss that every metric of a task contains, exact for any batches, ranks and dtypes."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric


def add_keeping_rounding(total: Tensor, rounding: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Add ``value`` to ``total`` and what the addition rounds away to ``rounding`` (Neumaier's sum, Knuth's two-sum).

    All are float32 of one shape; ``total.double() + rounding.double()`` is the sum. For devices without float64.
    """
    new = total + value
    added = new - total
    return new, rounding + ((total - (new - added)) + (value - added))


class MeanLoss(Metric):
    """Base of metrics: a mean of losses by weight, summed over ranks. Without any weight it is nan, not 0."""

    full_state_update = False
    loss_sums: Tensor
    loss_rounding: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Loss times weight, and weight: (2,) each. Weights may be counts or sums of weights of classes.
        self.add_state("loss_sums", torch.zeros(2), dist_reduce_fx="sum")
        self.add_state("loss_rounding", torch.zeros(2), dist_reduce_fx="sum")

    def add_loss(self, mean_loss: Tensor, weight: Tensor) -> None:
        """Add a batch: () its mean loss and () what it weighs. Without weight it adds nothing, be its mean nan."""
        loss, weight = mean_loss.detach().float(), weight.detach().float()
        weighted = torch.where(weight > 0, loss * weight, torch.zeros_like(loss))
        self.loss_sums, self.loss_rounding = add_keeping_rounding(
            self.loss_sums, self.loss_rounding, torch.stack([weighted, weight])
        )

    def mean_loss(self) -> Tensor:
        """() float64 on the CPU."""
        return self.total_loss() / self._total(1)

    def total_loss(self) -> Tensor:
        """() float64 on the CPU: losses times weights."""
        return self._total(0)

    def _total(self, index: int) -> Tensor:
        return self.loss_sums[index].cpu().double() + self.loss_rounding[index].cpu().double()

    def to_float32(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """What ``compute`` returns, of float64 on the CPU: float32 on the metric's device."""
        return {name: value.float().to(self.loss_sums.device) for name, value in values.items()}

    def _apply(self, fn: Callable[..., Any], exclude_state: Sequence[str] = "") -> nn.Module:
        """Follow the module to its device but stay float32: torchmetrics makes sums bfloat16 with a bfloat16 model."""
        kept = {"loss_sums": self.loss_sums, "loss_rounding": self.loss_rounding}
        super()._apply(fn, exclude_state)
        for name, value in kept.items():
            device = getattr(self, name).device
            setattr(self, name, value.to(device))
            self._defaults[name] = torch.zeros(2, device=device)
        return self


class TrainingLoss(MeanLoss):
    """The loss alone, which is all that is watched while training."""

    def update(self, mean_loss: Tensor, weight: Tensor) -> None:
        """Add a batch: () its mean loss and () what it weighs."""
        self.add_loss(mean_loss, weight)

    def compute(self) -> dict[str, Tensor]:
        """``loss``: () float32."""
        return self.to_float32({"loss": self.mean_loss()})
