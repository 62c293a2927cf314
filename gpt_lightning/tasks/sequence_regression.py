"""Prediction of a number for a text, such as a score or a price."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from gpt_lightning.batch import SequenceRegressionBatch
from gpt_lightning.errors import InputError
from gpt_lightning.metrics import RegressionMetrics, TrainingLoss
from gpt_lightning.metrics.row_scores import NUMBERS
from gpt_lightning.metrics.row_statistics import RowStatistics
from gpt_lightning.models.huggingface.heads import SEQUENCE_REGRESSION, HuggingFaceHead
from gpt_lightning.tasks.base import Stage, Task, linear_head
from gpt_lightning.tasks.error_examples import escape, shorten
from gpt_lightning.tasks.pooling import pool
from gpt_lightning.tasks.settings import TaskSettings
from gpt_lightning.unpack import Unpack

# B batch, T tokens, C channels


class SequenceRegression(Task):
    """Prediction of a number for a whole text, Hugging Face's ``problem_type: regression``.

    The head predicts the standardized target, so that one learning rate suits targets of any unit and size. The loss is
    the mean squared error of standardized targets; the metrics and the predictions have the unit of the targets.

    Args:
        pooling: input of the head: the ``mean`` of all hidden states, or the hidden state of the ``last`` token.
        target_mean: mean of the training targets. By default, ``fit`` computes both.
        target_std: standard deviation of the training targets.
    """

    batch: ClassVar[type] = SequenceRegressionBatch
    causal_defaults: ClassVar[Mapping[str, Any]] = {"pooling": "last"}
    huggingface_head: ClassVar[HuggingFaceHead | None] = SEQUENCE_REGRESSION
    fitted_arguments: ClassVar[tuple[str, ...]] = ("target_mean", "target_std")

    def __init__(
        self,
        pooling: Literal["last", "mean"] = "mean",
        target_mean: float = 0.0,
        target_std: float = 1.0,
        **settings: Unpack[TaskSettings],
    ) -> None:
        if not target_std > 0.0:
            raise InputError(f"--model.target_std={target_std} must be greater than 0. Leave it out")
        super().__init__(**settings)
        self.pooling = pooling
        self.target_mean, self.target_std = target_mean, target_std
        # Hugging Face's heads, which look at the last token, have no bias.
        self.head = linear_head(self.backbone.config.n_embd, 1, bias=pooling == "mean")
        self.train_metrics = TrainingLoss()
        self.val_metrics = RegressionMetrics()
        self.test_metrics = RegressionMetrics()
        self.test_rows = RowStatistics(NUMBERS)

    def setup(self, stage: str) -> None:
        """Standardize by the training targets before ``fit``, or as the head that is continued was trained."""
        super().setup(stage)
        # A resumed run has the values of its checkpoint, which may be those of a head that it continues.
        is_known = (self.target_mean, self.target_std) != (0.0, 1.0)
        if stage == "fit" and not self.is_continued and not is_known:
            mean_and_std = getattr(self.trainer.datamodule, "target_mean_and_std", None)  # type: ignore[attr-defined]
            if mean_and_std is not None:
                self._standardize(*mean_and_std())

    def continue_head(self, source: str) -> Mapping[str, Any]:
        """Load the head of ``source`` with its unit of targets."""
        saved = super().continue_head(source)
        if saved:
            self._standardize(saved.get("target_mean", 0.0), saved.get("target_std", 1.0))
            self.is_continued = True
        return saved

    is_continued = False

    def _standardize(self, mean: float, std: float) -> None:
        self.target_mean, self.target_std = self.hparams["target_mean"], self.hparams["target_std"] = mean, std

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the standardized predictions, (B,), of token ids, (B, T) int64, and their mask, (B, T) bool."""
        hidden_BTC = self.backbone(input_ids, attention_mask=attention_mask)
        pooled_BC = pool(hidden_BTC, attention_mask, self.pooling)
        predictions_B1: Tensor = self.head(F.dropout(pooled_BC, self.backbone.config.dropout, self.training))
        return predictions_B1.squeeze(1)

    def weight(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the number of labeled rows; shape (), int64."""
        labels: Tensor = batch["labels"]
        return (~labels.isnan()).sum()

    def step(self, batch: Mapping[str, Any], stage: Stage) -> Tensor:
        """Return the mean squared error of the standardized targets."""
        predictions_B: Tensor = self(batch["input_ids"], batch["attention_mask"]).float()
        targets_B: Tensor = batch["labels"]
        weight = self.weight(batch)
        is_labeled_B = ~targets_B.isnan()
        standardized_B = ((targets_B - self.target_mean) / self.target_std).where(is_labeled_B, 0.0)
        losses_B = (predictions_B - standardized_B).square().where(is_labeled_B, 0.0)
        loss = losses_B.sum() / weight.clamp(min=1)
        if stage == "train":
            self.train_metrics.update(loss, weight)
            return loss
        values_B = self._to_unit(predictions_B)
        self.metrics(stage).update(loss, weight, values_B, targets_B)
        if stage == "test" and self.keeps_test_rows:
            columns = {"rows": is_labeled_B, "prediction": values_B, "target": targets_B}
            self.test_rows.add(batch.get("ids", [""] * len(targets_B)), columns)
        if stage == "val":
            self._record_errors(batch, values_B.tolist(), losses_B.tolist())
        return loss

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """Return a record for each row: ``id`` and ``value``, the predicted number."""
        values = self._to_unit(self(batch["input_ids"], batch["attention_mask"]).float()).tolist()
        return [{"id": name, "value": value} for name, value in zip(batch["ids"], values, strict=False)]

    def _to_unit(self, predictions_B: Tensor) -> Tensor:
        """Return standardized predictions in the unit of the targets, (B,)."""
        return predictions_B * self.target_std + self.target_mean

    def _record_errors(self, batch: Mapping[str, Any], values: list[float], losses: list[float]) -> None:
        """Keep the rows with the largest errors."""
        targets = batch["labels"].tolist()
        for row, (name, text) in enumerate(zip(batch["ids"], batch["texts"], strict=True)):
            self.hardest_examples.add(
                losses[row],
                lambda row=row, name=name, text=text: (  # type: ignore[misc]
                    f"**{values[row]:.4g}** instead of **{targets[row]:.4g}** ({escape(name)}): {escape(shorten(text))}"
                ),
            )
