"""Classification of whole texts, with one label or several."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX, SequenceClassificationBatch
from gpt_lightning.errors import InputError
from gpt_lightning.metrics import ClassificationMetrics, MultiLabelMetrics, TrainingLoss
from gpt_lightning.metrics.row_scores import MULTI_LABEL, SINGLE_LABEL, label_set_columns
from gpt_lightning.metrics.row_statistics import RowStatistics
from gpt_lightning.models.huggingface.heads import SEQUENCE_CLASSIFICATION, HuggingFaceHead
from gpt_lightning.tasks.base import Stage, Task, linear_head
from gpt_lightning.tasks.class_weights import (
    ClassWeights,
    balanced_weights,
    check_class_weights,
    check_names,
    weights_tensor,
)
from gpt_lightning.tasks.error_examples import escape, shorten
from gpt_lightning.tasks.pooling import pool
from gpt_lightning.tasks.settings import TaskSettings
from gpt_lightning.unpack import Unpack

# B batch, T tokens, C channels, L labels


class SequenceClassification(Task):
    """Classification of whole texts by topic, intent or sentiment, for example (Radford et al. 2018).

    Args:
        labels: names of the labels. On the command line, they come from the data module.
        multi_label: set this if a text may have any number of labels. Each label is then predicted on its own, if its
            probability reaches its threshold.
        pooling: input of the head: the ``mean`` of all hidden states, or the hidden state of the ``last`` token. Use
            ``last`` for models to be exported to Hugging Face, whose classifiers read the last token. It is the default
            with ``init_from`` and causal attention.
        label_smoothing: share of the target probability that is spread evenly over all labels, in [0, 1) (Szegedy et
            al. 2015, arXiv:1512.00567). Values near 0.1 reduce overconfidence.
        class_weights: label -> weight of its rows in the loss, or with ``multi_label`` of its presence. Unnamed labels
            have weight 1. Raise the weights of rare labels to trade precision for recall. ``balanced`` weights labels
            by the inverse of their frequency in the training rows, as in scikit-learn.
        balanced_weights: the weights of ``balanced``. ``fit`` computes them, so they are not set by hand.
        thresholds: with ``multi_label``, label -> probability from which it is predicted; 0.5 for unnamed labels.
        tune_thresholds: with ``multi_label``, choose the threshold of each label that maximizes its F1 in the last
            validation. Checkpoints save them as ``thresholds``, and ``test`` and ``predict`` use them.
    """

    batch: ClassVar[type] = SequenceClassificationBatch
    takes_from_data: ClassVar[Mapping[str, str]] = {**Task.takes_from_data, "labels": "labels"}
    fitted_arguments: ClassVar[tuple[str, ...]] = ("balanced_weights", "thresholds")
    causal_defaults: ClassVar[Mapping[str, Any]] = {"pooling": "last"}
    huggingface_head: ClassVar[HuggingFaceHead | None] = SEQUENCE_CLASSIFICATION

    def __init__(
        self,
        labels: list[str] | None = None,
        multi_label: bool = False,
        pooling: Literal["last", "mean"] = "mean",
        label_smoothing: float = 0.0,
        class_weights: ClassWeights = None,
        balanced_weights: dict[str, float] | None = None,
        thresholds: dict[str, float] | None = None,
        tune_thresholds: bool = False,
        **settings: Unpack[TaskSettings],
    ) -> None:
        if not labels or len(labels) < 2 - multi_label:
            raise InputError(
                f"classification needs at least {2 - multi_label} labels: the training data has only "
                f"{labels or 'none'}. Check --data.train"
            )
        if not 0.0 <= label_smoothing < 1.0:
            raise InputError(f"--model.label_smoothing={label_smoothing} must lie in [0, 1)")
        check_class_weights(class_weights, labels)
        _check_thresholds(thresholds, labels)
        if not multi_label and (thresholds or tune_thresholds):
            raise InputError("--model.thresholds and --model.tune_thresholds need --model.multi_label=true")
        super().__init__(**settings)
        self.classes = labels
        self.multi_label = multi_label
        self.pooling = pooling
        self.label_smoothing = label_smoothing
        # Hugging Face's classification heads for decoders pool the last token and have no bias.
        self.head = linear_head(self.backbone.config.n_embd, len(labels), bias=pooling == "mean")
        self.is_balanced = class_weights == "balanced"
        weights = weights_tensor(balanced_weights if class_weights == "balanced" else class_weights, labels)
        self.register_buffer("class_weights", weights, persistent=False)
        self.tune_thresholds = tune_thresholds
        self.train_metrics = TrainingLoss()
        if multi_label:
            chosen = torch.tensor([(thresholds or {}).get(label, 0.5) for label in labels])
            self.val_metrics = MultiLabelMetrics(len(labels), chosen)
            self.test_metrics = MultiLabelMetrics(len(labels), chosen)
        else:
            self.val_metrics = ClassificationMetrics(len(labels))
            self.test_metrics = ClassificationMetrics(len(labels))
        self.test_rows = RowStatistics(MULTI_LABEL if multi_label else SINGLE_LABEL)
        self.calibration_temperature: float | None = None
        """Temperature (Guo et al. 2017, arXiv:1706.04599) of a second confidence of each tested row; None for none."""

    class_weights: Tensor

    def setup(self, stage: str) -> None:
        """Compute balanced weights from the training rows before ``fit``."""
        super().setup(stage)
        if stage == "fit" and self.is_balanced:
            datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
            weights = balanced_weights(datamodule, self.classes, multi_label=self.multi_label)
            self.hparams["balanced_weights"] = weights
            self.class_weights.copy_(weights_tensor(weights, self.classes))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits, (B, L), of token ids, (B, T) int64, and their attention mask, (B, T) bool."""
        hidden_BTC = self.backbone(input_ids, attention_mask=attention_mask)
        pooled_BC = pool(hidden_BTC, attention_mask, self.pooling)
        dropped_BC = F.dropout(pooled_BC, self.backbone.config.dropout, self.training)
        logits_BL: Tensor = self.head(dropped_BC)
        return logits_BL

    def weight(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the sum of the labeled rows' weights, or with ``multi_label`` their number; shape (), float32."""
        labels: Tensor = batch["labels"]
        if self.multi_label:
            return (labels[:, 0] != IGNORE_INDEX).sum().float()
        return self.class_weights.float()[labels[labels != IGNORE_INDEX]].sum()

    def step(self, batch: Mapping[str, Any], stage: Stage) -> Tensor:
        """Return the weighted mean cross-entropy over rows, in nats; ``multi_label`` sums over the labels of a row."""
        logits_BL, weight = self(batch["input_ids"], batch["attention_mask"]).float(), self.weight(batch)
        losses_B = self._losses(logits_BL, batch["labels"])
        loss = losses_B.sum() / weight.clamp(min=torch.finfo(weight.dtype).tiny)
        if stage == "train":
            self.train_metrics.update(loss, weight)
            return loss
        predictions = logits_BL.sigmoid() if self.multi_label else logits_BL.argmax(1)
        self.metrics(stage).update(loss, weight, predictions, batch["labels"])
        if stage == "test" and self.keeps_test_rows:
            self._record_rows(batch, logits_BL)
        if stage == "val":
            self._record_errors(batch, batch["labels"].cpu(), logits_BL.detach().cpu(), losses_B.detach().cpu())
        return loss

    def on_validation_epoch_end(self) -> None:
        """Log the metrics; with ``tune_thresholds``, choose the thresholds for ``test`` and ``predict``.

        F1 and the scores of each label are those with the new thresholds, ``accuracy`` is that with the ones before.
        """
        is_tuned = self.tune_thresholds and self.trainer.state.fn == "fit" and not self.trainer.sanity_checking
        if isinstance(self.val_metrics, MultiLabelMetrics):
            self.val_metrics.tunes_thresholds = is_tuned
        self._log_epoch("val")
        if is_tuned and isinstance(self.val_metrics, MultiLabelMetrics):
            thresholds = self.val_metrics.thresholds
            assert isinstance(self.test_metrics, MultiLabelMetrics)
            self.test_metrics.set_thresholds(thresholds)
            self.hparams["thresholds"] = dict(zip(self.classes, thresholds.tolist(), strict=True))

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """Return a record for each row: ``id``, ``label`` or ``labels``, and ``scores``, a probability per label."""
        logits_BL = self(batch["input_ids"], batch["attention_mask"]).float()
        scores_BL = logits_BL.sigmoid() if self.multi_label else logits_BL.softmax(1)
        records = []
        predicted_BL = self._is_predicted(scores_BL).tolist() if self.multi_label else []
        for row, (name, scores) in enumerate(zip(batch["ids"], scores_BL.tolist(), strict=False)):  # padding has no id
            named = dict(zip(self.classes, scores, strict=True))
            if self.multi_label:
                answer: dict[str, Any] = {"labels": list(itertools.compress(self.classes, predicted_BL[row]))}
            else:
                answer = {"label": max(named, key=named.__getitem__)}
            records.append({"id": name, **answer, "scores": named})
        return records

    def _losses(self, logits_BL: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted losses, (B,), which are 0 for rows without a label."""
        weights_L = self.class_weights.float()
        if not self.multi_label:
            losses_B = F.cross_entropy(
                logits_BL,
                labels,
                ignore_index=IGNORE_INDEX,
                label_smoothing=self.label_smoothing,
                reduction="none",
            )
            # torch's own weights also apply to the smoothed targets of the other labels, which the rare ones then win.
            return losses_B * weights_L[labels.clamp(min=0)]
        targets_BL = labels.float() * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        losses_BL = F.binary_cross_entropy_with_logits(logits_BL, targets_BL, reduction="none")
        losses_BL = torch.where(labels == 1, losses_BL * weights_L, losses_BL)
        return losses_BL.where(labels != IGNORE_INDEX, 0.0).sum(1)

    def _is_predicted(self, scores_BL: Tensor) -> Tensor:
        """Return which probabilities reach the thresholds, (B, L) bool."""
        assert isinstance(self.test_metrics, MultiLabelMetrics)
        return scores_BL >= self.test_metrics.thresholds.to(scores_BL.device)

    def _record_rows(self, batch: Mapping[str, Any], logits_BL: Tensor) -> None:
        """Keep the statistics of the labeled rows and, for single labels, the confidence of each prediction."""
        labels: Tensor = batch["labels"]
        ids = batch.get("ids", [""] * len(labels))
        is_labeled = (labels if labels.ndim == 1 else labels[:, 0])[: len(ids)] != IGNORE_INDEX
        ids = list(itertools.compress(ids, is_labeled.tolist()))
        labels, logits_BL = labels[: len(is_labeled)][is_labeled], logits_BL[: len(is_labeled)][is_labeled]
        if self.multi_label:
            predicted_BL = self._is_predicted(logits_BL.sigmoid()).cpu().double().numpy()
            self.test_rows.add(ids, label_set_columns(predicted_BL, labels.cpu().double().numpy()))
            return
        columns = {
            "rows": torch.ones(len(ids)),
            "correct": logits_BL.argmax(1) == labels,
            "confidence": logits_BL.softmax(1).amax(1),
        }
        if self.calibration_temperature is not None:
            columns["calibrated_confidence"] = (logits_BL / self.calibration_temperature).softmax(1).amax(1)
        self.test_rows.add(ids, columns)

    def _record_errors(self, batch: Mapping[str, Any], labels: Tensor, logits_BL: Tensor, losses_B: Tensor) -> None:
        """Keep the misclassified rows with the highest losses."""
        if self.multi_label:
            predictions = self._is_predicted(logits_BL.sigmoid())
            wrong = (predictions != labels.bool()).any(1)
        else:
            predictions = logits_BL.argmax(1)
            wrong = predictions != labels

        def text(row: int) -> str:
            gold, predicted = (escape(self._names(each[row]) or "none") for each in (labels, predictions))
            place = escape(batch["ids"][row])
            return f"**{predicted}** instead of **{gold}** ({place}): {escape(shorten(batch['texts'][row]))}"

        for row in wrong[: len(batch["ids"])].nonzero().flatten().tolist():
            self.hardest_examples.add(float(losses_B[row]), functools.partial(text, row))

    def _names(self, row: Tensor) -> str:
        """Return the names of a row's labels: of one index, (), or of 0 and 1 for each label, (L,)."""
        indices = row.nonzero().flatten().tolist() if self.multi_label else [int(row)]
        return ", ".join(self.classes[index] for index in indices)


def _check_thresholds(thresholds: Mapping[str, float] | None, labels: Sequence[str]) -> None:
    """Check that thresholds are probabilities of labels.

    Raises:
        InputError: they are not.
    """
    check_names(thresholds or {}, labels, "thresholds")
    if bad := {label: value for label, value in (thresholds or {}).items() if not 0.0 <= value <= 1.0}:
        raise InputError(f"--model.thresholds={bad}: thresholds must lie in [0, 1]")
