"""Extractive question answering, including questions without an answer in the context."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX, QuestionAnsweringBatch
from gpt_lightning.metrics import SpanMetrics, TrainingLoss
from gpt_lightning.metrics.row_scores import ANSWERS, answer_columns
from gpt_lightning.metrics.row_statistics import RowStatistics
from gpt_lightning.metrics.span import token_f1
from gpt_lightning.models.huggingface.heads import QUESTION_ANSWERING, HuggingFaceHead
from gpt_lightning.ranges import check_count
from gpt_lightning.tasks.base import Stage, Task, apply_in_chunks, linear_head
from gpt_lightning.tasks.error_examples import escape
from gpt_lightning.tasks.settings import TaskSettings
from gpt_lightning.unpack import Unpack

# B windows, T tokens, C channels, D lengths of an answer in tokens

MASKED_LOGIT = torch.finfo(torch.float32).min
"""Logit of positions where no answer may start or end; finite, so that differences of scores are never NaN."""


class Span(NamedTuple):
    """Candidate answer: its score, and its start and end in characters of the context."""

    score: float
    start: int
    end: int


class Answers(NamedTuple):
    """Candidate answers to one question."""

    spans: list[Span]
    """Best spans, the best first; a score is the sum of the start and end logits."""
    null_score: float
    """Score of "no answer", on the same scale."""

    @property
    def no_answer_score(self) -> float:
        """Null score minus the best span's score, rounded to float32 like the thresholds of the metric."""
        return torch.tensor(self.null_score - self.spans[0].score).item()


class QuestionAnswering(Task):
    """Extractive question answering (Devlin et al. 2018, arXiv:1810.04805, 4.2 and 4.3).

    In windows without the answer, the target of both logits is the last token, called the null position. The model
    predicts no answer if the score of that position exceeds the best span's score by a threshold. Each validation
    chooses the threshold with the best F1, and checkpoints save it. Before the first validation, it is 0 if the
    training data has questions without an answer, and infinite if not. It stays 0 if the validation data has none.

    Args:
        max_answer_tokens: maximum length of a predicted answer in tokens. Raise it if the answers in your data are
            longer.
        n_best: number of candidate answers per question in the output of ``predict``.
    """

    batch: ClassVar[type] = QuestionAnsweringBatch
    huggingface_head: ClassVar[HuggingFaceHead | None] = QUESTION_ANSWERING
    former_names: ClassVar[Mapping[str, str]] = {"f1": "answer_f1"}

    def __init__(
        self,
        max_answer_tokens: int = 30,
        n_best: int = 5,
        **settings: Unpack[TaskSettings],
    ) -> None:
        for name, value in (("max_answer_tokens", max_answer_tokens), ("n_best", n_best)):
            check_count(f"--model.{name}", value)
        super().__init__(**settings)
        self.max_answer_tokens = max_answer_tokens
        self.n_best = n_best
        self.head = linear_head(self.backbone.config.n_embd, 2)
        self.no_answer_threshold = math.inf  # predicts an answer to every question until the first validation
        self.train_metrics = TrainingLoss()
        self.val_metrics = SpanMetrics()
        self.test_metrics = SpanMetrics()
        self.test_rows = RowStatistics(ANSWERS)

    def get_extra_state(self) -> Tensor:
        """Return the no-answer threshold, for checkpoints; in a bfloat16 model a buffer would lose precision."""
        return torch.tensor(self.no_answer_threshold, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the no-answer threshold from a checkpoint."""
        self.no_answer_threshold = float(state)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the answer's first and last token, (B, T) float32 each.

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T) bool; False for padding.
            allowed: (B, T) bool; positions where an answer may start or end.
        """
        if self.training:
            logits_BT2 = self._unmasked_logits(input_ids, attention_mask)
        else:
            logits_BT2 = apply_in_chunks(self._unmasked_logits, input_ids, attention_mask)
        starts_BT, ends_BT = logits_BT2.masked_fill(~allowed.unsqueeze(-1), MASKED_LOGIT).unbind(-1)
        return starts_BT, ends_BT

    def _unmasked_logits(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden_BTC = self.backbone(input_ids, attention_mask=attention_mask)
        logits_BT2: Tensor = self.head(F.dropout(hidden_BTC, self.backbone.config.dropout, self.training)).float()
        return logits_BT2

    def weight(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the number of windows that are not padding; shape (), int64."""
        starts: Tensor = batch["start_positions"]
        return (starts != IGNORE_INDEX).sum()

    def step(self, batch: Mapping[str, Any], stage: Stage) -> Tensor:
        """Return the mean cross-entropy of the answer's start and end over windows, in nats."""
        starts_BT, ends_BT = self._logits(batch)
        losses_B = 0.5 * (
            F.cross_entropy(starts_BT, batch["start_positions"], ignore_index=IGNORE_INDEX, reduction="none")
            + F.cross_entropy(ends_BT, batch["end_positions"], ignore_index=IGNORE_INDEX, reduction="none")
        )
        weight = self.weight(batch)
        loss = losses_B.sum() / weight.clamp(min=1)
        if stage == "train":
            self.train_metrics.update(loss, weight)
            return loss
        found = self._answers(batch, starts_BT, ends_BT)
        texts = [_best_text(answers, batch["contexts"][row]) for row, answers in enumerate(found)]
        no_answer_scores = torch.tensor([answers.no_answer_score for answers in found])
        self.metrics(stage).update(loss, weight, texts, no_answer_scores, batch["answers"])
        if stage == "test" and self.keeps_test_rows:
            answers = [self._answer_text(each, batch["contexts"][row]) for row, each in enumerate(found)]
            self.test_rows.add(batch["ids"], answer_columns(answers, batch["answers"]))
        if stage == "val":
            self._record_errors(batch, found)
        return loss

    def on_fit_start(self) -> None:
        """Start with the threshold 0 if training questions have no answer, and keep it if no validation can choose it.

        0 is the default of Hugging Face's script for SQuAD 2.0.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if not hasattr(data, "has_unanswerable") or not data.has_unanswerable("train"):
            return
        if self.trainer.ckpt_path is None:
            self.no_answer_threshold = 0.0
        has_validation = data.has_validation and self.trainer.limit_val_batches != 0
        if has_validation and data.has_unanswerable("validation"):
            return
        self.val_metrics.threshold = 0.0
        if self.trainer.is_global_zero:
            reason = "every validation question has one" if has_validation else "there are no validation rows"
            print(
                f"some training questions have no answer, but {reason}: the threshold for no answer stays "
                f"{self.no_answer_threshold:g}. To choose it, hold out rows with --data.validation_fraction=0.1",
                flush=True,
            )

    def on_test_epoch_start(self) -> None:
        """Use the threshold of the last validation, so that no test data influences it."""
        super().on_test_epoch_start()
        self.test_metrics.threshold = self.no_answer_threshold

    def on_validation_epoch_end(self) -> None:
        """Log the metrics and keep the no-answer threshold with the best F1."""
        values = self._log_epoch("val")
        if not self.trainer.sanity_checking:
            self.no_answer_threshold = float(values["no_answer_threshold"])

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """Return a record for each question: ``id``, ``answer`` ("" for none), ``no_answer_score`` and ``n_best``.

        Each entry of ``n_best`` has ``text``, ``start`` and ``end`` in characters of the context, and ``score``. The
        scores and ``no_answer_score`` are probabilities that sum to 1.
        """
        records = []
        for row, answers in enumerate(self._answers(batch, *self._logits(batch))):
            context = batch["contexts"][row]
            scores = torch.tensor([span.score for span in answers.spans] + [answers.null_score]).softmax(0).tolist()
            candidates = [
                {"text": context[span.start : span.end], "start": span.start, "end": span.end, "score": score}
                for span, score in zip(answers.spans, scores, strict=False)
            ]
            text = self._answer_text(answers, context)
            records.append(
                {"id": batch["ids"][row], "answer": text, "no_answer_score": scores[-1], "n_best": candidates}
            )
        return records

    def _logits(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        allowed = batch["context_mask"].scatter(1, batch["null_positions"].unsqueeze(1), True)
        starts_BT, ends_BT = self(batch["input_ids"], batch["attention_mask"], allowed)
        return starts_BT, ends_BT

    def _answers(self, batch: Mapping[str, Any], starts_BT: Tensor, ends_BT: Tensor) -> list[Answers]:
        """Return the best spans of each question, over all of its windows."""
        null = batch["null_positions"].unsqueeze(1)
        null_scores = (starts_BT.gather(1, null) + ends_BT.gather(1, null)).squeeze(1).tolist()
        scores, firsts, lasts = self.best_spans(
            starts_BT.where(batch["context_mask"], MASKED_LOGIT),
            ends_BT.where(batch["context_mask"], MASKED_LOGIT),
            self.n_best,
        )
        rows = torch.arange(len(firsts), device=firsts.device).unsqueeze(1)
        char_starts, char_ends = batch["offsets"][rows, firsts, 0].tolist(), batch["offsets"][rows, lasts, 1].tolist()
        spans: list[dict[tuple[int, int], float]] = [{} for _ in batch["ids"]]
        nulls = [float("inf")] * len(spans)
        for window, example in enumerate(batch["examples"].tolist()):
            if example < 0:
                continue
            # Windows without the answer have high null scores, so the lowest one decides.
            nulls[example] = min(nulls[example], null_scores[window])
            for score, start, end in zip(scores[window].tolist(), char_starts[window], char_ends[window], strict=True):
                # Windows overlap: a span in several of them is one candidate, with its highest score.
                if score > MASKED_LOGIT / 2 and score > spans[example].get((start, end), MASKED_LOGIT):
                    spans[example][start, end] = score
        ranked = [sorted((Span(score, *span) for span, score in found.items()), reverse=True) for found in spans]
        # There is no span if the context has no words or the logits are NaN.
        no_span = [Span(MASKED_LOGIT, 0, 0)]
        return [Answers(best[: self.n_best] or no_span, null) for best, null in zip(ranked, nulls, strict=True)]

    def best_spans(self, starts_BT: Tensor, ends_BT: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best spans of each window: scores, first tokens and last tokens, each (B, n), the best first.

        Args:
            starts_BT: logits of the first token, with ``MASKED_LOGIT`` where no answer may start.
            ends_BT: logits of the last token, with ``MASKED_LOGIT`` where no answer may end.
            count: maximum number of spans, n.
        """
        width = self.max_answer_tokens
        # End logits of the ``width`` tokens from each start.
        ends_BTD = F.pad(ends_BT, (0, width - 1), value=MASKED_LOGIT).unfold(1, width, 1)
        # The sum of two masked logits is -inf, which still sorts last.
        scores, flat = (starts_BT.unsqueeze(-1) + ends_BTD).flatten(1).topk(min(count, starts_BT.size(1)))
        firsts = flat // width
        # A window with fewer spans than ``count`` yields masked ones, whose last token may lie outside of it.
        return scores, firsts, (firsts + flat % width).clamp(max=ends_BT.size(1) - 1)

    def _answer_text(self, answers: Answers, context: str) -> str:
        """Return the text of the best answer, or "" if the no-answer score reaches the threshold."""
        if answers.no_answer_score >= self.no_answer_threshold:
            return ""
        return _best_text(answers, context)

    def _record_errors(self, batch: Mapping[str, Any], found: list[Answers]) -> None:
        """Keep the questions whose answers have the lowest F1; among equals, the most confident answers."""
        for row, answers in enumerate(found):
            predicted, golds = self._answer_text(answers, batch["contexts"][row]), batch["answers"][row]
            f1 = token_f1(predicted, golds)
            if f1 == 1.0:
                continue
            confidence = torch.tensor(answers.spans[0].score - answers.null_score).sigmoid().item()
            self.hardest_examples.add(
                1.0 - f1 + 0.01 * (confidence if predicted else 1.0 - confidence),
                lambda row=row, predicted=predicted, golds=golds: (  # type: ignore[misc]
                    f"({escape(batch['ids'][row])}) {escape(batch['questions'][row])} — "
                    f"predicted **{escape(predicted) or 'no answer'}**, "
                    f"correct: {escape(' / '.join(golds)) or 'no answer'}: "
                    f"{_highlight(batch['contexts'][row], found[row].spans[0] if predicted else None)}"
                ),
            )


def _best_text(answers: Answers, context: str) -> str:
    best = answers.spans[0]
    return context[best.start : best.end]


def _highlight(context: str, span: Span | None) -> str:
    """Return Markdown of the context around a wrong span, which is bold; without a span, the start of the context."""
    if span is None:
        return escape(context[:300])
    before, after = context[max(0, span.start - 150) : span.start], context[span.end : span.end + 150]
    return f"{escape(before)} **{escape(context[span.start : span.end])}** {escape(after)}"
