"""Callback that logs precision-recall and reliability curves of classifiers after each validation."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gpt_lightning.metrics.curves import ProbabilityCurves
from gpt_lightning.tasks import SequenceClassification, TokenClassification
from gpt_lightning.tasks.tags import CURVES
from gpt_lightning.training.diagnostics.curve_image import draw_curve
from gpt_lightning.training.logger_media import show_image


class ProbabilityDiagnostics(L.Callback):
    """Callback that logs how good the probabilities of a classifier are, after each validation.

    ``val_curves/precision_recall`` is the micro-averaged precision-recall curve: each class of each row is a yes or no
    question. ``val_curves/average_precision`` is the area under it. ``val_curves/reliability`` shows the share of
    correct predictions by confidence, and ``val_curves/expected_calibration_error`` is their mean distance (Guo et al.
    2017, arXiv:1706.04599). The rows of the first device are measured.
    """

    def __init__(self) -> None:
        self.curves: ProbabilityCurves | None = None
        """Curves of the last validation; None before the first one, and for tasks without classes."""
        self._hook: RemovableHandle | None = None
        self._logits: list[Tensor] = []

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start new curves, and follow the output layer."""
        is_measured = trainer.state.fn == "fit" and not trainer.sanity_checking and trainer.is_global_zero
        if is_measured and isinstance(pl_module, SequenceClassification | TokenClassification):
            self.curves = ProbabilityCurves(multi_label=getattr(pl_module, "multi_label", False))
            self._hook = pl_module.head.register_forward_hook(self._keep)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Mapping[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the probabilities of the batch."""
        if self._hook is None or self.curves is None or not self._logits:
            return
        logits, self._logits = torch.cat(self._logits), []
        labels = batch["labels"][batch["scored"]] if "scored" in batch else batch["labels"]
        if len(labels) == len(logits):
            self.curves.add(logits, labels)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the curves."""
        if self._hook is None or self.curves is None:
            return
        self._hook.remove()
        self._hook = None
        bins = self.curves.reliability()
        if not bins:
            return
        error, precision = self.curves.calibration_error(), self.curves.average_precision()
        values = {f"{CURVES}/expected_calibration_error": error, f"{CURVES}/average_precision": precision}
        trainer._logger_connector.log_metrics(values, trainer.global_step)  # type: ignore[arg-type]
        curve = self.curves.precision_recall()
        image = draw_curve(curve, "precision by recall", "recall", "precision", has_diagonal=False)
        show_image(trainer, f"{CURVES}/precision_recall", image)
        points = [(confidence, accuracy) for confidence, accuracy, _ in bins]
        image = draw_curve(points, "accuracy by confidence", "confidence", "accuracy", has_diagonal=True)
        show_image(trainer, f"{CURVES}/reliability", image)

    def _keep(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        self._logits.append(output.detach())
