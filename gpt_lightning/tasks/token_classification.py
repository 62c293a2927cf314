"""Classification of words: named-entity recognition, slot filling."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX, TokenClassificationBatch
from gpt_lightning.errors import InputError
from gpt_lightning.metrics import EntityMetrics, TrainingLoss
from gpt_lightning.metrics.entity_f1 import entities
from gpt_lightning.metrics.row_scores import TAGS, tag_columns
from gpt_lightning.metrics.row_statistics import RowStatistics
from gpt_lightning.models.huggingface.heads import TOKEN_CLASSIFICATION, HuggingFaceHead
from gpt_lightning.tasks.base import Stage, Task, apply_in_chunks, linear_head
from gpt_lightning.tasks.class_weights import ClassWeights, balanced_weights, check_class_weights, weights_tensor
from gpt_lightning.tasks.error_examples import escape, shorten
from gpt_lightning.tasks.finite import require_finite
from gpt_lightning.tasks.settings import TaskSettings
from gpt_lightning.unpack import Unpack

# B windows, T tokens, C channels, L labels, W words of the whole batch


class TokenClassification(Task):
    """Tagging of words, each from the hidden state of one of its tokens (Devlin et al. 2018, arXiv:1810.04805, 5.3).

    A causal backbone tags each word without seeing the words that follow. Prefer bidirectional attention.

    Args:
        labels: tags, such as ``O`` and ``B-PER``. On the command line, they come from the data module.
        pooling: token of a word that the head reads, ``first`` or ``last``. Use ``last`` with a causal backbone, which
            has then seen the whole word. With ``init_from`` and causal attention, it is the default.
        word_rules: rules by which raw text is split into words. On the command line, they come from the data module.
        class_weights: tag -> weight of its words in the loss; 1 for unnamed tags. ``balanced`` weights tags by the
            inverse of their frequency in the training rows, as in scikit-learn.
        balanced_weights: the weights of ``balanced``. ``fit`` computes them, so they are not set by hand.
    """

    batch: ClassVar[type] = TokenClassificationBatch
    takes_from_data: ClassVar[Mapping[str, str]] = {
        **Task.takes_from_data,
        "labels": "labels",
        "word_rules": "word_rules",
    }
    causal_defaults: ClassVar[Mapping[str, Any]] = {"pooling": "last"}
    huggingface_head: ClassVar[HuggingFaceHead | None] = TOKEN_CLASSIFICATION
    former_names: ClassVar[Mapping[str, str]] = {
        "accuracy": "token_accuracy",
        "precision": "entity_precision",
        "recall": "entity_recall",
        "f1": "entity_f1",
        "macro_f1": "entity_macro_f1",
    }

    def __init__(
        self,
        labels: list[str] | None = None,
        pooling: Literal["first", "last"] = "first",
        word_rules: list[str] | None = None,
        class_weights: ClassWeights = None,
        balanced_weights: dict[str, float] | None = None,
        **settings: Unpack[TaskSettings],
    ) -> None:
        if not labels or len(labels) < 2:
            raise InputError(
                f"tagging needs at least 2 tags: the training data has only {labels or 'none'}. Check --data.train"
            )
        check_class_weights(class_weights, labels)
        super().__init__(**settings)
        self.labels = labels
        self.is_balanced = class_weights == "balanced"
        weights = weights_tensor(balanced_weights if class_weights == "balanced" else class_weights, labels)
        self.register_buffer("class_weights", weights, persistent=False)
        self.head = linear_head(self.backbone.config.n_embd, len(labels))
        self.train_metrics = TrainingLoss()
        self.val_metrics = EntityMetrics(labels)
        self.test_metrics = EntityMetrics(labels)
        self.test_rows = RowStatistics(TAGS)
        self.classes = list(self.val_metrics.types)

    class_weights: Tensor

    def setup(self, stage: str) -> None:
        """Compute balanced weights from the training rows before ``fit``."""
        super().setup(stage)
        if stage == "fit" and self.is_balanced:
            weights = balanced_weights(self.trainer.datamodule, self.labels)  # type: ignore[attr-defined]
            self.hparams["balanced_weights"] = weights
            self.class_weights.copy_(weights_tensor(weights, self.labels))

    def weight(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the sum of the weights of the tagged words; shape (), float32."""
        tags: Tensor = batch["labels"][batch["labels"] != IGNORE_INDEX]
        return self.class_weights.float()[tags].sum()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, scored: Tensor) -> Tensor:
        """Return the logits of the words, (W, L).

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T) bool; False for padding.
            scored: (B, T) bool; the token of each word that the head reads.
        """
        if not self.training:
            return apply_in_chunks(self._logits, input_ids, attention_mask, scored)
        return self._logits(input_ids, attention_mask, scored)

    def _logits(self, input_ids: Tensor, attention_mask: Tensor, scored: Tensor) -> Tensor:
        hidden_WC = self.backbone(input_ids, attention_mask=attention_mask)[scored]
        dropped_WC = F.dropout(hidden_WC, self.backbone.config.dropout, self.training)
        logits_WL: Tensor = self.head(dropped_WC)
        return logits_WL

    def step(self, batch: Mapping[str, Any], stage: Stage) -> Tensor:
        """Return the weighted mean cross-entropy of the words' tags, in nats."""
        logits_WL = self(batch["input_ids"], batch["attention_mask"], batch["scored"]).float()
        labels_W = batch["labels"][batch["scored"]]
        losses_W = F.cross_entropy(logits_WL, labels_W, ignore_index=IGNORE_INDEX, reduction="none")
        losses_W = losses_W * self.class_weights.float()[labels_W.clamp(min=0)]
        weight = self.weight(batch)
        loss = losses_W.sum() / weight.clamp(min=torch.finfo(weight.dtype).tiny)
        if stage == "train":
            self.train_metrics.update(loss, weight)
            return loss
        predicted_W, rows_W = logits_WL.argmax(1), _text_indices(batch)
        self.metrics(stage).update(loss, weight, predicted_W, labels_W, rows_W)
        if stage == "test" and self.keeps_test_rows:
            self._record_rows(batch, rows_W, predicted_W, labels_W)
        if stage == "val":
            self._record_errors(batch, rows_W.cpu(), predicted_W.cpu(), labels_W.cpu(), losses_W.detach().cpu())
        return loss

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """Return a record for each text: ``id``, the ``tags`` of its words, and its ``entities``.

        An entity has ``label``, ``start`` and ``end`` in characters, ``text`` and ``score``, the lowest probability
        among its tags.
        """
        logits_WL = self(batch["input_ids"], batch["attention_mask"], batch["scored"]).float()
        scores_W, predicted_W = logits_WL.softmax(1).max(1)
        require_finite(scores_W, batch["ids"])
        rows_W = _text_indices(batch)
        records = []
        for row, (name, text, words) in enumerate(zip(batch["ids"], batch["texts"], batch["words"], strict=True)):
            is_in_text = rows_W == row
            scores, tags = scores_W[is_in_text].tolist(), self._tag_names(predicted_W[is_in_text])
            found = [
                {
                    "label": label,
                    "start": words[first][0],
                    "end": words[stop - 1][1],
                    "text": text[words[first][0] : words[stop - 1][1]],
                    "score": min(scores[first:stop]),
                }
                for label, first, stop in entities(tags)
            ]
            records.append({"id": name, "tags": tags, "entities": found})
        return records

    def _tag_names(self, tags: Tensor) -> list[str]:
        return [self.labels[tag] for tag in tags.tolist()]

    def _record_rows(self, batch: Mapping[str, Any], rows_W: Tensor, predicted_W: Tensor, labels_W: Tensor) -> None:
        """Keep the statistics of each text; its words are adjacent."""
        ids = batch.get("ids", [""] * (int(batch["examples"].max()) + 1))
        sizes = torch.bincount(rows_W, minlength=len(ids)).tolist()
        predicted, gold = (list(map(self._tag_names, torch.split(tags, sizes))) for tags in (predicted_W, labels_W))
        self.test_rows.add(ids, tag_columns(predicted, gold))

    def _record_errors(
        self, batch: Mapping[str, Any], rows_W: Tensor, predicted_W: Tensor, labels_W: Tensor, losses_W: Tensor
    ) -> None:
        """Keep the texts with wrong tags whose summed losses are the highest."""
        wrong_W = predicted_W != labels_W
        for row in set(rows_W[wrong_W].tolist()):
            is_in_text = rows_W == row
            predicted, gold = self._tag_names(predicted_W[is_in_text]), self._tag_names(labels_W[is_in_text])
            name, text, words = (batch[key][row] for key in ("ids", "texts", "words"))
            self.hardest_examples.add(
                float(losses_W[is_in_text].sum()),
                lambda name=name, text=text, words=words, predicted=predicted, gold=gold: (  # type: ignore[misc]
                    f"({escape(name)}) {highlight_errors(text, words, predicted, gold)}"
                ),
            )


def _text_indices(batch: Mapping[str, Any]) -> Tensor:
    """Return the index of each word's text in the batch, (W,) int64."""
    examples_BT: Tensor = batch["examples"].unsqueeze(1).expand_as(batch["scored"])
    return examples_BT[batch["scored"]]


def highlight_errors(text: str, words: Sequence[tuple[int, int]], predicted: Sequence[str], gold: Sequence[str]) -> str:
    """Return Markdown of a text with missed entities in italics and wrong entities in bold.

    Args:
        text: text to show.
        words: start and end of each word, in characters.
        predicted: predicted tag of each word.
        gold: correct tag of each word.
    """
    predicted_entities, gold_entities = set(entities(predicted)), set(entities(gold))
    errors = [(first, stop, label, "*", "missed") for label, first, stop in gold_entities - predicted_entities]
    errors += [(first, stop, label, "**", "wrong") for label, first, stop in predicted_entities - gold_entities]
    parts, position = [], 0
    for first, stop, label, mark, error in sorted(errors):
        start, end = words[first][0], words[stop - 1][1]
        # If a missed and a wrong entity overlap, the text of each is shown in full.
        parts += [
            escape(shorten(text[position:start])),
            f"{mark}{escape(text[start:end])}{mark} ({error} {escape(label)})",
        ]
        position = max(position, end)
    return " ".join(part for part in [*parts, escape(shorten(text[position:]))] if part)
