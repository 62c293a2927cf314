"""Classification of words: named entities, slots."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX, TokenClassificationBatch
from gpt_lightning.errors import InputError
from gpt_lightning.metrics import EntityMetrics, TrainingLoss
from gpt_lightning.metrics.entity_f1 import entities
from gpt_lightning.models.huggingface.heads import TOKEN_CLASSIFICATION, HuggingFaceHead
from gpt_lightning.tasks.base import Stage, Task, in_parts, linear_head
from gpt_lightning.tasks.error_examples import escape, shorten
from gpt_lightning.tasks.settings import TaskSettings
from gpt_lightning.unpack import Unpack

# B batch, T tokens, C channels, L labels, W words of the whole batch


class TokenClassification(Task):
    """Tagging of words, each by one of its tokens (Devlin et al. 2018, arXiv:1810.04805, 5.3).

    A backbone with causal attention tags a word before it sees the next one.

    Args:
        labels: the tags, ``O`` and ``B-TYPE`` and so on; follow the data.
        pooling: which token of a word the head sees: the ``first``, or the ``last``, by which a causal backbone has
            seen all of the word.
    """

    batch: ClassVar[type] = TokenClassificationBatch
    takes_from_data: ClassVar[Mapping[str, str]] = {**Task.takes_from_data, "labels": "labels"}
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
        **settings: Unpack[TaskSettings],
    ) -> None:
        if not labels or len(labels) < 2:
            raise InputError(f"there is nothing to tag: the training data has the tags {labels}")
        super().__init__(**settings)
        self.labels = labels
        self.head = linear_head(self.backbone.config.n_embd, len(labels))
        self.train_metrics = TrainingLoss()
        self.val_metrics = EntityMetrics(labels)
        self.test_metrics = EntityMetrics(labels)
        self.classes = list(self.val_metrics.types)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, scored: Tensor) -> Tensor:
        """Logits of the words: (B, T) int64 and two (B, T) bool -> (W, L)."""
        if not self.training:
            return in_parts(self._logits, input_ids, attention_mask, scored)
        return self._logits(input_ids, attention_mask, scored)

    def _logits(self, input_ids: Tensor, attention_mask: Tensor, scored: Tensor) -> Tensor:
        hidden_WC = self.backbone(input_ids, attention_mask=attention_mask)[scored]
        dropped_WC = F.dropout(hidden_WC, self.backbone.config.dropout, self.training)
        logits_WL: Tensor = self.head(dropped_WC)
        return logits_WL

    def step(self, batch: Mapping[str, Any], stage: Stage) -> Tensor:
        """Mean cross-entropy of the words' tags, in nats."""
        logits_WL = self(batch["input_ids"], batch["attention_mask"], batch["scored"]).float()
        labels_W = batch["labels"][batch["scored"]]
        losses_W = F.cross_entropy(logits_WL, labels_W, ignore_index=IGNORE_INDEX, reduction="none")
        weight = self.weight(batch)
        loss = losses_W.sum() / weight.clamp(min=1)
        if stage == "train":
            self.train_metrics.update(loss, weight)
            return loss
        predicted_W, rows_W = logits_WL.argmax(1), _examples(batch)
        self.metrics(stage).update(loss, weight, predicted_W, labels_W, rows_W)
        if stage == "val":
            self._note_errors(batch, rows_W.cpu(), predicted_W.cpu(), labels_W.cpu(), losses_W.detach().cpu())
        return loss

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """For each text its ``id``, the ``tags`` of its words and its ``entities``.

        An entity has a ``label``, ``start`` and ``end`` in characters, its ``text``, and a ``score`` in [0, 1]: the
        least probable of its tags.
        """
        logits_WL = self(batch["input_ids"], batch["attention_mask"], batch["scored"]).float()
        scores_W, predicted_W = logits_WL.softmax(1).max(1)
        rows_W = _examples(batch)
        records = []
        for row, (name, text, words) in enumerate(zip(batch["ids"], batch["texts"], batch["words"], strict=True)):
            mine = rows_W == row
            scores, tags = scores_W[mine].tolist(), self._names(predicted_W[mine])
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

    def _names(self, tags: Tensor) -> list[str]:
        return [self.labels[tag] for tag in tags.tolist()]

    def _note_errors(
        self, batch: Mapping[str, Any], rows_W: Tensor, predicted_W: Tensor, labels_W: Tensor, losses_W: Tensor
    ) -> None:
        """Keep the texts with a wrong tag whose words have the greatest loss."""
        wrong_W = predicted_W != labels_W
        for row in set(rows_W[wrong_W].tolist()):
            mine = rows_W == row
            predicted, gold = self._names(predicted_W[mine]), self._names(labels_W[mine])
            name, text, words = (batch[key][row] for key in ("ids", "texts", "words"))
            self.hardest_examples.add(
                float(losses_W[mine].sum()),
                lambda name=name, text=text, words=words, predicted=predicted, gold=gold: (  # type: ignore[misc]
                    f"({escape(name)}) {marked(text, words, predicted, gold)}"
                ),
            )


def _examples(batch: Mapping[str, Any]) -> Tensor:
    """(W,) which text of the batch each word is of."""
    examples_BT: Tensor = batch["examples"].unsqueeze(1).expand_as(batch["scored"])
    return examples_BT[batch["scored"]]


def marked(text: str, words: Sequence[tuple[int, int]], predicted: Sequence[str], gold: Sequence[str]) -> str:
    """Markdown of a text in which missed entities are slanted and wrong ones bold; right ones are plain."""
    found, right = set(entities(predicted)), set(entities(gold))
    notes = [(first, stop, label, "*", "missed") for label, first, stop in right - found]
    notes += [(first, stop, label, "**", "wrong") for label, first, stop in found - right]
    shown, position = [], 0
    for first, stop, label, mark, what in sorted(notes):
        start, end = words[first][0], words[stop - 1][1]
        # Where a missed and a wrong entity overlap, each is shown whole.
        shown += [
            escape(shorten(text[position:start])),
            f"{mark}{escape(text[start:end])}{mark} ({what} {escape(label)})",
        ]
        position = max(position, end)
    return " ".join(part for part in [*shown, escape(shorten(text[position:]))] if part)
