"""Extractive question answering, with or without an answer in the context."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX, QuestionAnsweringBatch
from gpt_lightning.errors import InputError
from gpt_lightning.metrics import SpanMetrics, TrainingLoss
from gpt_lightning.metrics.span import token_f1
from gpt_lightning.models.huggingface.heads import QUESTION_ANSWERING, HuggingFaceHead
from gpt_lightning.tasks.base import Stage, Task, in_parts, linear_head
from gpt_lightning.tasks.error_examples import escape
from gpt_lightning.tasks.settings import TaskSettings
from gpt_lightning.unpack import Unpack

# B batch, T tokens, C channels, D tokens of an answer

NEVER = torch.finfo(torch.float32).min
"""The logit of a position that no answer can have; finite, so that no difference of two is nan."""


class Span(NamedTuple):
    """A possible answer."""

    score: float
    start: int
    end: int


class Answers(NamedTuple):
    """What is found for one question."""

    spans: list[Span]
    """The best ones, best first, each with the sum of its logits."""
    null_score: float
    """The same for "there is no answer"."""

    @property
    def no_answer_score(self) -> float:
        """How much better no answer is than the best; float32, as the metric compares it with the threshold."""
        return torch.tensor(self.null_score - self.spans[0].score).item()


class QuestionAnswering(Task):
    """Extractive question answering (Devlin et al. 2018, arXiv:1810.04805, 4.2 and 4.3).

    A window without the answer, and every window of a question that has none, points at its last token. A question is
    left without an answer where that scores higher than the best span by more than a threshold, which each validation
    chooses anew and the checkpoint keeps.

    Args:
        max_answer_tokens: no longer answer is given.
        n_best: how many answers to a question are predicted.
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
            if value < 1:
                raise InputError(f"--model.{name}={value} must be at least 1")
        super().__init__(**settings)
        self.max_answer_tokens = max_answer_tokens
        self.n_best = n_best
        self.head = linear_head(self.backbone.config.n_embd, 2)
        self.no_answer_threshold = math.inf  # until a validation has chosen one, every question is answered
        self.train_metrics = TrainingLoss()
        self.val_metrics = SpanMetrics()
        self.test_metrics = SpanMetrics()

    def get_extra_state(self) -> Tensor:
        """The threshold, for the checkpoint; a buffer would lose bits in a bfloat16 model."""
        return torch.tensor(self.no_answer_threshold, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the threshold from a checkpoint."""
        self.no_answer_threshold = float(state)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of being the answer's first and last token: (B, T) int64 and two (B, T) bool -> two (B, T)."""
        if self.training:
            logits_BT2 = self._both(input_ids, attention_mask)
        else:
            logits_BT2 = in_parts(self._both, input_ids, attention_mask)
        starts_BT, ends_BT = logits_BT2.masked_fill(~allowed.unsqueeze(-1), NEVER).unbind(-1)
        return starts_BT, ends_BT

    def _both(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden_BTC = self.backbone(input_ids, attention_mask=attention_mask)
        logits_BT2: Tensor = self.head(F.dropout(hidden_BTC, self.backbone.config.dropout, self.training)).float()
        return logits_BT2

    def weight(self, batch: Mapping[str, Any]) -> Tensor:
        """() int64: windows that are not padding."""
        starts: Tensor = batch["start_positions"]
        return (starts != IGNORE_INDEX).sum()

    def step(self, batch: Mapping[str, Any], stage: Stage) -> Tensor:
        """Cross-entropy of the answer's two ends, in nats: their mean, over windows."""
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
        texts = [_text(answers, batch["contexts"][row]) for row, answers in enumerate(found)]
        no_answer = torch.tensor([answers.no_answer_score for answers in found])
        self.metrics(stage).update(loss, weight, texts, no_answer, batch["answers"])
        if stage == "val":
            self._note_errors(batch, found)
        return loss

    def on_test_epoch_start(self) -> None:
        """No test row chooses anything."""
        self.test_metrics.threshold = self.no_answer_threshold

    def on_validation_epoch_end(self) -> None:
        """Log, and keep the threshold with which these questions were answered best."""
        values = self._log_epoch("val")
        self.no_answer_threshold = float(values["no_answer_threshold"])

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """For each question its ``id``, the ``answer`` ("" for none) and the ``n_best`` candidates.

        A candidate has ``text``, ``start`` and ``end`` in characters of the context, and a ``score`` in [0, 1]: its
        share among the candidates and ``no_answer_score``.
        """
        records = []
        for row, answers in enumerate(self._answers(batch, *self._logits(batch))):
            context = batch["contexts"][row]
            scores = torch.tensor([span.score for span in answers.spans] + [answers.null_score]).softmax(0).tolist()
            candidates = [
                {"text": context[span.start : span.end], "start": span.start, "end": span.end, "score": score}
                for span, score in zip(answers.spans, scores, strict=False)
            ]
            text = self._judged(answers, context)
            records.append(
                {"id": batch["ids"][row], "answer": text, "no_answer_score": scores[-1], "n_best": candidates}
            )
        return records

    def _logits(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        allowed = batch["context_mask"].scatter(1, batch["null_positions"].unsqueeze(1), True)
        starts_BT, ends_BT = self(batch["input_ids"], batch["attention_mask"], allowed)
        return starts_BT, ends_BT

    def _answers(self, batch: Mapping[str, Any], starts_BT: Tensor, ends_BT: Tensor) -> list[Answers]:
        """The best spans of each question, over all of its windows."""
        null = batch["null_positions"].unsqueeze(1)
        null_scores = (starts_BT.gather(1, null) + ends_BT.gather(1, null)).squeeze(1).tolist()
        scores, firsts, lasts = self._best_spans(
            starts_BT.where(batch["context_mask"], NEVER), ends_BT.where(batch["context_mask"], NEVER)
        )
        rows = torch.arange(len(firsts), device=firsts.device).unsqueeze(1)
        char_starts, char_ends = batch["offsets"][rows, firsts, 0].tolist(), batch["offsets"][rows, lasts, 1].tolist()
        spans: list[dict[tuple[int, int], float]] = [{} for _ in batch["ids"]]
        nulls = [float("inf")] * len(spans)
        for window, example in enumerate(batch["examples"].tolist()):
            if example < 0:
                continue
            # A window that holds no answer says so loudly; where one holds it, the question has one.
            nulls[example] = min(nulls[example], null_scores[window])
            for score, start, end in zip(scores[window].tolist(), char_starts[window], char_ends[window], strict=True):
                # A span that several windows show counts once.
                if score > NEVER / 2 and score > spans[example].get((start, end), NEVER):
                    spans[example][start, end] = score
        ranked = [sorted((Span(score, *span) for span, score in found.items()), reverse=True) for found in spans]
        # A context without a single word, or logits that are nan, leave no span at all.
        nothing = [Span(NEVER, 0, 0)]
        return [Answers(best[: self.n_best] or nothing, null) for best, null in zip(ranked, nulls, strict=True)]

    def _best_spans(self, starts_BT: Tensor, ends_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The ``n_best`` spans of each window: scores, first and last tokens, each (B, n)."""
        width = self.max_answer_tokens
        later_BTD = F.pad(ends_BT, (0, width - 1), value=NEVER).unfold(1, width, 1)  # the ends from each start on
        # NEVER twice is -inf, which sorts as it should.
        scores, flat = (starts_BT.unsqueeze(-1) + later_BTD).flatten(1).topk(min(self.n_best, starts_BT.size(1)))
        firsts = flat // width
        # Where a window has fewer spans than are asked for, the others reach beyond it and score NEVER.
        return scores, firsts, (firsts + flat % width).clamp(max=ends_BT.size(1) - 1)

    def _judged(self, answers: Answers, context: str) -> str:
        """The answer's text, or "" where the threshold says that there is none."""
        if answers.no_answer_score >= self.no_answer_threshold:
            return ""
        return _text(answers, context)

    def _note_errors(self, batch: Mapping[str, Any], found: list[Answers]) -> None:
        """Keep the questions whose answer shares least with the right one; among equals the surest."""
        for row, answers in enumerate(found):
            said, golds = self._judged(answers, batch["contexts"][row]), batch["answers"][row]
            f1 = token_f1(said, golds)
            if f1 == 1.0:
                continue
            sureness = torch.tensor(answers.spans[0].score - answers.null_score).sigmoid().item()
            self.hardest_examples.add(
                1.0 - f1 + 0.01 * (sureness if said else 1.0 - sureness),
                lambda row=row, said=said, golds=golds: (  # type: ignore[misc]
                    f"({escape(batch['ids'][row])}) {escape(batch['questions'][row])} — "
                    f"said **{escape(said) or 'no answer'}**, right is {escape(' / '.join(golds)) or 'no answer'}: "
                    f"{_marked(batch['contexts'][row], found[row].spans[0] if said else None)}"
                ),
            )


def _text(answers: Answers, context: str) -> str:
    best = answers.spans[0]
    return context[best.start : best.end]


def _marked(context: str, span: Span | None) -> str:
    """Markdown of the context around the wrong span, which is bold."""
    if span is None:
        return escape(context[:300])
    before, after = context[max(0, span.start - 150) : span.start], context[span.end : span.end + 150]
    return f"{escape(before)} **{escape(context[span.start : span.end])}** {escape(after)}"
