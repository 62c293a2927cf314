"""Classification of whole texts, with one label or several."""

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
    """Classification of whole texts by topic, intent or sentiment, for example (Radford et al. 2018).

    Args:
        labels: names of the labels. They follow the data module, so they are rarely set by hand.
        multi_label: set this if a text may have any number of labels. Each label is then predicted on its own, if its
            probability is at least 0.5.
        pooling: input of the head: the ``mean`` of all hidden states, or the hidden state of the ``last`` token. Use
            ``last`` for models to be exported to Hugging Face, whose classifiers read the last token. It is the default
            with ``init_from`` and causal attention.
        label_smoothing: share of the target probability that is spread evenly over all labels, in [0, 1) (Szegedy et
            al. 2015, arXiv:1512.00567). Values near 0.1 reduce overconfidence.
        class_weights: label -> weight of its rows in the loss, or with ``multi_label`` of its presence. Unnamed labels
            have weight 1. Raise the weights of rare labels to trade precision for recall.
    """

    batch: ClassVar[type] = SequenceClassificationBatch
    takes_from_data: ClassVar[Mapping[str, str]] = {**Task.takes_from_data, "labels": "labels"}
    causal_defaults: ClassVar[Mapping[str, Any]] = {"pooling": "last"}
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
            raise InputError(
                f"classification needs at least {2 - multi_label} labels: the training data has only "
                f"{labels or 'none'}. Check --data.train"
            )
        if not 0.0 <= label_smoothing < 1.0:
            raise InputError(f"--model.label_smoothing={label_smoothing} must lie in [0, 1)")
        if unknown := set(class_weights or ()) - set(labels):
            raise InputError(
                f"--model.class_weights has unknown labels: {', '.join(sorted(map(str, unknown)))}. "
                f"The labels of the data are {labels}"
            )
        if bad := {label: weight for label, weight in (class_weights or {}).items() if not 0.0 <= weight < math.inf}:
            raise InputError(f"--model.class_weights={bad}: weights must be finite and 0 or more")
        super().__init__(**settings)
        self.classes = labels
        self.multi_label = multi_label
        self.pooling = pooling
        self.label_smoothing = label_smoothing
        # Hugging Face's classification heads for decoders pool the last token and have no bias.
        self.head = linear_head(self.backbone.config.n_embd, len(labels), bias=pooling == "mean")
        weights = torch.tensor([(class_weights or {}).get(label, 1.0) for label in labels])
        self.register_buffer("class_weights", weights, persistent=False)
        metrics = MultiLabelMetrics if multi_label else ClassificationMetrics
        self.train_metrics = TrainingLoss()
        self.val_metrics = metrics(len(labels))
        self.test_metrics = metrics(len(labels))

    class_weights: Tensor

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits, (B, L), of token ids, (B, T) int64, and their attention mask, (B, T) bool."""
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
        if stage == "val":
            self._record_errors(batch, batch["labels"].cpu(), logits_BL.detach().cpu(), losses_B.detach().cpu())
        return loss

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """Return a record for each row: ``id``, ``label`` or ``labels``, and ``scores``, a probability per label."""
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
        """Return the weighted losses, (B,), which are 0 for rows without a label."""
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

    def _record_errors(self, batch: Mapping[str, Any], labels: Tensor, logits_BL: Tensor, losses_B: Tensor) -> None:
        """Keep the misclassified rows with the highest losses."""
        if self.multi_label:
            predicted_BL = logits_BL > 0.0
            wrong = (predicted_BL != labels.bool()).any(1)
        else:
            predicted_BL = F.one_hot(logits_BL.argmax(1), len(self.classes)).bool()
            wrong = logits_BL.argmax(1) != labels
            labels = F.one_hot(labels.clamp(min=0), len(self.classes))
        for row in wrong[: len(batch["ids"])].nonzero().flatten().tolist():
            gold, predicted = (
                ", ".join(label for label, is_set in zip(self.classes, one_hot[row].tolist(), strict=True) if is_set)
                for one_hot in (labels, predicted_BL)
            )
            self.hardest_examples.add(
                float(losses_B[row]),
                lambda row=row, gold=gold, predicted=predicted: (  # type: ignore[misc]
                    f"**{escape(predicted or 'none')}** instead of **{escape(gold or 'none')}** "
                    f"({escape(batch['ids'][row])}): {escape(shorten(batch['texts'][row]))}"
                ),
            )
