"""Gradients of the mean loss over all labels of an optimizer step.

Micro-batches and ranks may hold different numbers of labels, and the last step of an epoch may have fewer
micro-batches. Therefore each micro-batch backpropagates the *sum* of its losses, and the accumulated gradients are
divided once by the total number of labels.
"""

import math
import sys
from collections.abc import Iterable
from typing import Any, Final

import lightning.pytorch as L
import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import FSDPStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from gpt_lightning.errors import RunError

LOSS_SCALE: Final = 1.0 / 1024.0
"""Factor on the loss sums in the backward pass, which keeps them in float16's range; a power of two loses no bits."""


class MeanGradients:
    """Gradient accumulation with the mean taken over labels instead of micro-batches.

    Attributes:
        norm: Euclidean norm of the last step's gradients before clipping; shape ().
        scale: factor from the mean loss of the last micro-batch to the scaled sum of its losses; shape ().
        labels_seen: number of labels of this epoch, over all ranks.
    """

    def __init__(self) -> None:
        self.norm = torch.zeros(())
        self.scale = torch.ones(())
        self.labels_seen = 0.0
        self._skipped_steps = 0
        self._total: Tensor | None = None
        self._ids: list[list[str]] = []

    def __len__(self) -> int:
        """Return the number of micro-batches since the last optimizer step."""
        return len(self._ids)

    def add(self, loss: Tensor, weight: Tensor, ids: list[str]) -> None:
        """Add a micro-batch, before its backward pass.

        Args:
            loss: (), mean over its labels.
            weight: (), number of its labels, or the sum of their weights.
            ids: names of its rows, for messages.
        """
        mean = loss.detach().float()
        # Ignore micro-batches without labels, even if their mean is NaN.
        total = torch.stack((weight.float(), torch.where(weight > 0, mean * weight, 0.0)))
        self._total = total if self._total is None else self._total + total
        self._ids.append(ids)
        self.scale = weight * LOSS_SCALE

    def finish_step(
        self,
        trainer: L.Trainer,
        optimizer: torch.optim.Optimizer,
        clip_val: float | None,
        clip_algorithm: str | None,
        max_skipped_steps: int,
    ) -> None:
        """Divide the summed gradients by the number of labels of all micro-batches and ranks, then clip them.

        A step whose loss or gradients are not finite is skipped: its gradients are set to None.

        Args:
            trainer: trainer, for its strategy and precision.
            optimizer: optimizer that is about to step.
            clip_val: maximum norm of the mean gradient, or maximum absolute value of its entries; None or 0 disables
                clipping.
            clip_algorithm: ``value`` clips entries; anything else clips the norm.
            max_skipped_steps: number of steps per run that may be skipped.

        Raises:
            RunError: more than ``max_skipped_steps`` steps had a loss or gradients that are not finite.
        """
        precision, fused = trainer.precision_plugin, getattr(optimizer, "_step_supports_amp_scaling", False)
        if fused and isinstance(precision, MixedPrecision) and precision.scaler is not None:
            # A fused optimizer removes float16's loss scale in its step. Clipping comes earlier, so do it here.
            precision.scaler.unscale_(optimizer)
        total, ids = self._take()
        weight, loss = trainer.strategy.reduce(total, reduce_op="sum").unbind()
        # Lightning has divided by the number of micro-batches, and DDP by the number of ranks.
        divisor = trainer.accumulate_grad_batches * trainer.world_size
        # Without labels the gradients are 0, and this avoids 0 / 0.
        to_mean = torch.where(weight > 0.0, divisor / (weight * LOSS_SCALE), 0.0)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in parameters]
        norm = gradient_norm(gradients, trainer.strategy) * to_mean
        # With a gradient scaler, gradients overflow occasionally, and the scaler skips such steps itself.
        has_scaler = isinstance(precision, MixedPrecision) and precision.scaler is not None
        checked, labels = torch.stack((loss if has_scaler else loss + norm, weight)).tolist()
        if not math.isfinite(checked):
            step = f"step {trainer.global_step + 1}: the loss is {float(loss):g}, the gradient norm {float(norm):g}"
            others = f", and those of {trainer.world_size - 1} other devices" if trainer.world_size > 1 else ""
            description = f"{step}; rows: {', '.join(ids)}{others}"
            self._count_skipped(description, max_skipped_steps, trainer.is_global_zero)
            self.norm = norm
            for parameter in parameters:
                parameter.grad = None  # the optimizer ignores parameters without a gradient
            return
        self.labels_seen += labels
        if clip_val and clip_algorithm != "value":
            to_mean = to_mean * (clip_val / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, to_mean)
        if clip_val and clip_algorithm == "value":
            nn.utils.clip_grad_value_(parameters, clip_val)
        self.norm = norm

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint, with the number of micro-batches whose gradients are not saved."""
        return {
            "waiting_batches": len(self),
            "skipped_steps": self._skipped_steps,
            "labels_seen": self.labels_seen,
        }

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state, and subtract unfinished micro-batches from the progress so that training repeats them."""
        self._skipped_steps = checkpoint.get("skipped_steps", 0)
        self.labels_seen = checkpoint.get("labels_seen", 0.0)
        if waiting := checkpoint.get("waiting_batches", 0):
            _forget_batches(checkpoint["loops"]["fit_loop"], waiting)

    def _take(self) -> tuple[Tensor, list[str]]:
        """Return the label count and the loss sum, (2,), and the row names of this rank, then start a new step."""
        assert self._total is not None, "finish_step before any micro-batch"
        total, ids = self._total, [name for batch in self._ids for name in batch]
        self._total, self._ids = None, []
        return total, ids

    def _count_skipped(self, description: str, max_skipped_steps: int, is_global_zero: bool) -> None:
        """Count a skipped step and print its description.

        Raises:
            RunError: more than ``max_skipped_steps`` steps were skipped.
        """
        self._skipped_steps += 1
        if self._skipped_steps > max_skipped_steps:
            raise RunError(
                f"{description}. All saved checkpoints are finite. Check these rows, lower model.optimizer.lr, or let "
                f"the run skip such steps with model.optimizer.max_skipped_steps (now {max_skipped_steps})"
            )
        if is_global_zero:
            count = f"{self._skipped_steps} of at most {max_skipped_steps}"
            print(f"skipped {description} ({count})", file=sys.stderr, flush=True)


def _forget_batches(loop: dict[str, Any], waiting: int) -> None:
    """Set the counters of Lightning's loop to their values before the last ``waiting`` micro-batches."""
    # The first of these micro-batches has freed the gradients, which happens again.
    zero_grad = loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["zero_grad"]
    for progress, number in ((loop["epoch_loop.batch_progress"], waiting), (zero_grad, 1)):
        for counts in (progress["current"], progress["total"]):
            for name in counts:
                counts[name] -= number


def gradient_norm(gradients: Iterable[Tensor], strategy: Strategy) -> Tensor:
    """Return the Euclidean norm of all gradients, including those that are sharded over ranks."""
    norm = nn.utils.get_total_norm(gradients)
    if isinstance(norm, DTensor):  # ModelParallelStrategy
        return norm.full_tensor()
    if isinstance(strategy, FSDPStrategy):
        return strategy.reduce(norm.square(), reduce_op="sum").sqrt()
    return norm
