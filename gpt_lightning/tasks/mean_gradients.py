"""Gradients of the mean loss over all labels of an optimizer step.

Micro-batches and ranks may hold different numbers of labels, and the last window of an epoch may be shorter. So every
micro-batch sends back the *sum* of its losses, and the sum of gradients is divided once by the number of labels.
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
"""Factor of the sums of losses in the backward pass, so that float16 holds them; a power of two loses no bits."""


class MeanGradients:
    """Accumulates micro-batches and turns their gradients into those of the mean.

    Attributes:
        norm: (), the Euclidean norm of the last step's gradients, before clipping.
        labels_seen: labels of this epoch, over all ranks.
    """

    def __init__(self) -> None:
        self.norm = torch.zeros(())
        self.labels_seen = 0.0
        self._skipped_steps = 0
        self._total: Tensor | None = None
        self._ids: list[list[str]] = []

    def __len__(self) -> int:
        """Return the number of micro-batches that wait for the optimizer step."""
        return len(self._ids)

    def add(self, loss: Tensor, weight: Tensor, ids: list[str]) -> Tensor:
        """Add a micro-batch.

        Args:
            loss: (), the mean over its labels.
            weight: (), the number of its labels, or the sum of their weights.
            ids: the names of its rows.

        Returns:
            (), the scaled sum of losses, for the backward pass.
        """
        mean = loss.detach().float()
        # Ignore micro-batches without labels, even if their mean is NaN.
        total = torch.stack((weight.float(), torch.where(weight > 0, mean * weight, 0.0)))
        self._total = total if self._total is None else self._total + total
        self._ids.append(ids)
        return loss * (weight * LOSS_SCALE)

    def finish_step(
        self,
        trainer: L.Trainer,
        optimizer: torch.optim.Optimizer,
        clip_val: float | None,
        clip_algorithm: str | None,
        max_skipped_steps: int,
    ) -> None:
        """Turn the sum of gradients into the mean over the labels of all micro-batches and ranks, and clip it.

        Args:
            trainer: the trainer, for its strategy and precision.
            optimizer: the optimizer that is about to step.
            clip_val: the largest norm (or, by value, entry) of the mean; None or 0 clips nothing.
            clip_algorithm: ``value`` clips entries, anything else the norm.
            max_skipped_steps: steps of a run that may be skipped because their loss or gradients are not finite.

        Raises:
            RunError: the loss or the gradients are not finite, more often than ``max_skipped_steps`` allows.
        """
        precision, fused = trainer.precision_plugin, getattr(optimizer, "_step_supports_amp_scaling", False)
        if fused and isinstance(precision, MixedPrecision) and precision.scaler is not None:
            # Lightning leaves float16's loss scale to a fused optimizer's step, which comes after clipping.
            precision.scaler.unscale_(optimizer)
        total, ids = self._take()
        weight, loss = trainer.strategy.reduce(total, reduce_op="sum").unbind()
        # Lightning divided by the micro-batches of a step, DDP by the ranks.
        divided_by = trainer.accumulate_grad_batches * trainer.world_size
        # Without a single label the gradients are 0 and stay 0.
        to_mean = torch.where(weight > 0.0, divided_by / (weight * LOSS_SCALE), 0.0)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in parameters]
        norm = gradient_norm(gradients, trainer.strategy) * to_mean
        # With a loss scale, gradients overflow now and then, and the scaler skips such steps itself.
        scaled = isinstance(precision, MixedPrecision) and precision.scaler is not None
        finite, labels = torch.stack((loss if scaled else loss + norm, weight)).tolist()
        if not math.isfinite(finite):
            step = f"step {trainer.global_step + 1}: the loss is {float(loss):g}, the gradient norm {float(norm):g}"
            others = f", and those of {trainer.world_size - 1} other devices" if trainer.world_size > 1 else ""
            what = f"{step}; the rows: {', '.join(ids)}{others}"
            self._count_skipped(what, max_skipped_steps, trainer.is_global_zero)
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
        """Return what a checkpoint must hold; gradients of waiting micro-batches are lost, so they are counted."""
        return {
            "waiting_batches": len(self),
            "skipped_steps": self._skipped_steps,
            "labels_seen": self.labels_seen,
        }

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Return to the last optimizer step: subtract waiting micro-batches from the progress in ``checkpoint``."""
        self._skipped_steps = checkpoint.get("skipped_steps", 0)
        self.labels_seen = checkpoint.get("labels_seen", 0.0)
        waiting = checkpoint.get("waiting_batches", 0)
        if not waiting:
            return
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["current"], progress["total"]):
            for name in ("ready", "started", "processed", "completed"):
                counts[name] -= waiting

    def _take(self) -> tuple[Tensor, list[str]]:
        """Return (2,), this rank's labels and the sum of their losses, and the rows' names, and start a new step."""
        assert self._total is not None, "a step without a micro-batch"
        total, ids = self._total, [name for batch in self._ids for name in batch]
        self._total, self._ids = None, []
        return total, ids

    def _count_skipped(self, what: str, allowed: int, is_global_zero: bool) -> None:
        """Count a step that is skipped, and print it.

        Raises:
            RunError: more steps than ``allowed`` were skipped.
        """
        self._skipped_steps += 1
        if self._skipped_steps > allowed:
            raise RunError(
                f"{what}. No checkpoint holds such a number. Check these rows, lower model.optimizer.lr, or allow the "
                f"run to skip steps with model.optimizer.max_skipped_steps (now {allowed})"
            )
        if is_global_zero:
            print(f"skipped {what} ({self._skipped_steps} of at most {allowed})", file=sys.stderr, flush=True)


def gradient_norm(gradients: Iterable[Tensor], strategy: Strategy) -> Tensor:
    """Return the Euclidean norm of all gradients, also where each rank holds a part of them."""
    norm = nn.utils.get_total_norm(gradients)
    if isinstance(norm, DTensor):  # ModelParallelStrategy
        return norm.full_tensor()
    if isinstance(strategy, FSDPStrategy):
        return strategy.reduce(norm.square(), reduce_op="sum").sqrt()
    return norm
