"""Classification of texts, with one label or several."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX, SequenceClassificationBatch
from gpt_lightning.errors import InputError
from gpt_lightning.metrics import ClassificationMetrics, MultiLabelMetrics, TrainingLoss
from gpt_lightning.models.huggingface.heads import SEQUENCE_CLASSIFICATION, HuggingFaceHead
from gpt_lightning.tasks.base import Stage, Task, linear_head
from gpt_lightning.tasks.error_examples import escape, shorten
from gpt_lightning.tasks.settings import TaskSettings
from gpt_lightning.unpack import Unpack

# B batch, T tokens, C channels, L labels


class SequenceClassification(Task):
    """Classification of whole texts, such as topics, intents or sentiment (Radford et al. 2018).

    Args:
        labels: the labels' names; follow the data.
        multi_label: a text may have any number of labels: each is decided by itself, at a probability of one half.
        pooling: what the head sees: the ``last`` token, which has seen all others, or the ``mean`` of all.
        label_smoothing: how much of a label's probability is spread over all (Szegedy et al. 2015, arXiv:1512.00567).
        class_weights: label -> how much its rows (with ``multi_label``: its presence) weigh in the loss; 1 for labels
            that are not named.
    """

    batch: ClassVar[type] = SequenceClassificationBatch
    takes_from_data: ClassVar[Mapping[str, str]] = {**Task.takes_from_data, "labels": "labels"}
    huggingface_head: ClassVar[HuggingFaceHead | None] = SEQUENCE_CLASSIFICATION

    def __init__(
        self,
        labels: list[str] | None = None,
        multi_label: bool = False,
        pooling: Literal["last", "mean"] = "mean",
        label_smoothing: float = 0.0,
        class_weights: dict[str, float] | None = None,
        **settings: Unpack[TaskSettings],
    ) -> None:
        if not labels or len(labels) < 2 - multi_label:
            raise InputError(f"there is nothing to tell apart: the training data has the labels {labels}")
        if not 0.0 <= label_smoothing < 1.0:
            raise InputError(f"--model.label_smoothing={label_smoothing} must lie in [0, 1)")
        if unknown := set(class_weights or ()) - set(labels):
            raise InputError(
                f"--model.class_weights names {', '.join(sorted(map(str, unknown)))}; the labels are {labels}"
            )
        if bad := {label: weight for label, weight in (class_weights or {}).items() if not 0.0 <= weight < math.inf}:
            raise InputError(f"--model.class_weights must be finite and 0 or more, not {bad}")
        super().__init__(**settings)
        self.classes = labels
        self.multi_label = multi_label
        self.pooling = pooling
        self.label_smoothing = label_smoothing
        # The classifiers of decoders that others publish look at the last token, and have none.
        self.head = linear_head(self.backbone.config.n_embd, len(labels), bias=pooling == "mean")
        weights = torch.tensor([(class_weights or {}).get(label, 1.0) for label in labels])
        self.register_buffer("class_weights", weights, persistent=False)
        metrics = MultiLabelMetrics if multi_label else ClassificationMetrics
        self.train_metrics = TrainingLoss()
        self.val_metrics = metrics(len(labels))
        self.test_metrics = metrics(len(labels))

    class_weights: Tensor

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits: (B, T) int64 and (B, T) bool -> (B, L)."""
        hidden_BTC = self.backbone(input_ids, attention_mask=attention_mask)
        if self.pooling == "last":
            last_B = attention_mask.sum(1) - 1
            pooled_BC = hidden_BTC[torch.arange(len(last_B), device=last_B.device), last_B]
        else:
            weights_BT = attention_mask / attention_mask.sum(1, keepdim=True)
            pooled_BC = (hidden_BTC * weights_BT.unsqueeze(-1).to(hidden_BTC.dtype)).sum(1)
        dropped_BC = F.dropout(pooled_BC, self.backbone.config.dropout, self.training)
        logits_BL: Tensor = self.head(dropped_BC)
        return logits_BL

    def weight(self, batch: Mapping[str, Any]) -> Tensor:
        """() float32: the weights of the labeled rows, summed; with ``multi_label`` their number."""
        labels: Tensor = batch["labels"]
        if self.multi_label:
            return (labels[:, 0] != IGNORE_INDEX).sum().float()
        return self.class_weights.float()[labels[labels != IGNORE_INDEX]].sum()

    def step(self, batch: Mapping[str, Any], stage: Stage) -> Tensor:
        """Cross-entropy in nats: the weighted mean over rows; with ``multi_label`` summed over a row's labels."""
        logits_BL, weight = self(batch["input_ids"], batch["attention_mask"]).float(), self.weight(batch)
        losses_B = self._losses(logits_BL, batch["labels"])
        loss = losses_B.sum() / weight.clamp(min=torch.finfo(weight.dtype).tiny)
        if stage == "train":
            self.train_metrics.update(loss, weight)
            return loss
        judged = logits_BL.sigmoid() if self.multi_label else logits_BL.argmax(1)
        self.metrics(stage).update(loss, weight, judged, batch["labels"])
        if stage == "val":
            self._note_errors(batch, batch["labels"].cpu(), logits_BL.detach().cpu(), losses_B.detach().cpu())
        return loss

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """For each row its ``id``, its ``label`` (or ``labels``), and the ``scores`` of all labels, in [0, 1]."""
        logits_BL = self(batch["input_ids"], batch["attention_mask"]).float()
        scores_BL = logits_BL.sigmoid() if self.multi_label else logits_BL.softmax(1)
        records = []
        for name, scores in zip(batch["ids"], scores_BL.tolist(), strict=False):  # padding has no id
            named = dict(zip(self.classes, scores, strict=True))
            if self.multi_label:
                answer: dict[str, Any] = {"labels": [label for label, score in named.items() if score >= 0.5]}
            else:
                answer = {"label": max(named, key=named.__getitem__)}
            records.append({"id": name, **answer, "scores": named})
        return records

    def _losses(self, logits_BL: Tensor, labels: Tensor) -> Tensor:
        """(B,) weighted losses, 0 where there is no label."""
        if not self.multi_label:
            return F.cross_entropy(
                logits_BL,
                labels,
                weight=self.class_weights.float(),
                ignore_index=IGNORE_INDEX,
                label_smoothing=self.label_smoothing,
                reduction="none",
            )
        labeled_BL = labels != IGNORE_INDEX
        targets_BL = labels.float() * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        losses_BL = F.binary_cross_entropy_with_logits(
            logits_BL, targets_BL, pos_weight=self.class_weights.float(), reduction="none"
        )
        return losses_BL.where(labeled_BL, 0.0).sum(1)

    def _note_errors(self, batch: Mapping[str, Any], labels: Tensor, logits_BL: Tensor, losses_B: Tensor) -> None:
        """Keep the rows that were judged wrongly with the greatest loss."""
        if self.multi_label:
            predicted_BL = logits_BL > 0.0
            wrong = (predicted_BL != labels.bool()).any(1)
        else:
            predicted_BL = F.one_hot(logits_BL.argmax(1), len(self.classes)).bool()
            wrong = logits_BL.argmax(1) != labels
            labels = F.one_hot(labels.clamp(min=0), len(self.classes))
        for row in wrong[: len(batch["ids"])].nonzero().flatten().tolist():
            right, said = (
                ", ".join(label for label, is_so in zip(self.classes, one_hot[row].tolist(), strict=True) if is_so)
                for one_hot in (labels, predicted_BL)
            )
            self.hardest_examples.add(
                float(losses_B[row]),
                lambda row=row, right=right, said=said: (  # type: ignore[misc]
                    f"**{escape(said or 'none')}** instead of **{escape(right or 'none')}** "
                    f"({escape(batch['ids'][row])}): {escape(shorten(batch['texts'][row]))}"
                ),
            )
