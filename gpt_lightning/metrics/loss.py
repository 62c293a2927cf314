"""Mean loss, the common part of all metrics, exact for any batch sizes, ranks and dtypes."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric


def compensated_add(total: Tensor, rounding: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Add ``value`` to ``total`` and the rounding error of this addition to ``rounding``; return both.

    This is Neumaier's compensated summation with Knuth's two-sum, for devices without float64. All arguments are
    float32 tensors of one shape. ``total.double() + rounding.double()`` is the sum.
    """
    new = total + value
    added = new - total
    return new, rounding + ((total - (new - added)) + (value - added))


class MeanLoss(Metric):
    """Base class of metrics: the weighted mean of losses over batches and ranks; NaN if the total weight is 0."""

    full_state_update = False
    loss_sums: Tensor
    loss_rounding: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Both (2,): sum of loss times weight, and sum of weights. A weight is a count or a sum of class weights.
        self.add_state("loss_sums", torch.zeros(2), dist_reduce_fx="sum")
        self.add_state("loss_rounding", torch.zeros(2), dist_reduce_fx="sum")

    def add_loss(self, mean_loss: Tensor, weight: Tensor) -> None:
        """Add the mean loss, (), of a batch and its weight, (). Ignore zero weights, even if the mean is NaN."""
        loss, weight = mean_loss.detach().float(), weight.detach().float()
        weighted = torch.where(weight > 0, loss * weight, torch.zeros_like(loss))
        self.loss_sums, self.loss_rounding = compensated_add(
            self.loss_sums, self.loss_rounding, torch.stack([weighted, weight])
        )

    def mean_loss(self) -> Tensor:
        """Return the weighted mean loss; shape (), float64 on the CPU."""
        return self.total_loss() / self._total(1)

    def has_labels(self) -> bool:
        """Return whether there is a mean loss, because the total weight is not 0."""
        return bool(self._total(1) != 0)

    def total_loss(self) -> Tensor:
        """Return the sum of losses times weights; shape (), float64 on the CPU."""
        return self._total(0)

    def _total(self, index: int) -> Tensor:
        return self.loss_sums[index].cpu().double() + self.loss_rounding[index].cpu().double()

    def to_float32(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return float64 results on the CPU converted to float32 on the metric's device, for ``compute``."""
        return {name: value.float().to(self.loss_sums.device) for name, value in values.items()}

    def _apply(self, fn: Callable[..., Any], exclude_state: Sequence[str] = "") -> nn.Module:
        """Move with the module to its device, but keep sums in float32 when the module is converted to bfloat16."""
        sums = {"loss_sums": self.loss_sums, "loss_rounding": self.loss_rounding}
        super()._apply(fn, exclude_state)
        for name, value in sums.items():
            device = getattr(self, name).device
            setattr(self, name, value.to(device))
            self._defaults[name] = torch.zeros(2, device=device)
        return self


class TrainingLoss(MeanLoss):
    """Mean loss, the only metric during training."""

    def update(self, mean_loss: Tensor, weight: Tensor) -> None:
        """Add the mean loss, (), of a batch and its weight, ()."""
        self.add_loss(mean_loss, weight)

    def compute(self) -> dict[str, Tensor]:
        """Return ``loss``; shape (), float32."""
        return self.to_float32({"loss": self.mean_loss()})
