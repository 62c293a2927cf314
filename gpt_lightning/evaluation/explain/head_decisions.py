"""Decisions of the heads: label, number, tags and answer.

B rows, T tokens, P places of outputs, L classes.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gpt_lightning.evaluation.explain.decision import Decision, Rows, log_odds
from gpt_lightning.metrics import MultiLabelMetrics
from gpt_lightning.tasks import QuestionAnswering, SequenceClassification, SequenceRegression, TokenClassification
from gpt_lightning.tasks.question_answering import MASKED_LOGIT


class LabelDecision(Decision):
    """Label of a text, or in multi-label classification whether the text has the label."""

    kind = "label"

    def __init__(self, task: SequenceClassification, ids: Sequence[int], label: int) -> None:
        super().__init__(task, ids, task.classes[label])
        self.task, self.label = task, label

    def logits(self, rows: Rows) -> Tensor:
        """Return the logits of all labels, (B, L)."""
        logits_BL: Tensor = self.task(rows.input_ids, rows.attention_mask)
        return logits_BL.float()

    def scores(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the log-odds of the label."""
        if self.task.multi_label:
            return logits[:, self.label]
        return log_odds(logits, torch.full((len(logits),), self.label, device=logits.device))

    def outcomes(self, logits: Tensor, rows: Rows) -> list[str]:
        """Return the predicted label; in multi-label classification, the label or "not" and the label."""
        if not self.task.multi_label:
            return [self.task.classes[label] for label in logits.argmax(1).tolist()]
        assert isinstance(self.task.test_metrics, MultiLabelMetrics)
        threshold = self.task.test_metrics.thresholds[self.label].item()
        names = {True: self.target, False: f"not {self.target}"}
        return [names[each] for each in (logits[:, self.label].sigmoid() >= threshold).tolist()]

    def probabilities(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the probability of the label."""
        return self.scores(logits, rows).sigmoid()


class ValueDecision(Decision):
    """Predicted number, which counts as another one when it has moved by a standard deviation of the targets."""

    kind, unit = "value", "unit of the targets"

    def __init__(self, task: SequenceRegression, ids: Sequence[int], value: float) -> None:
        super().__init__(task, ids, f"{value:.4g}")
        self.task, self.value = task, value

    def logits(self, rows: Rows) -> Tensor:
        """Return the predictions in the unit of the targets, (B,)."""
        predictions_B: Tensor = self.task(rows.input_ids, rows.attention_mask)
        return predictions_B.float() * self.task.target_std + self.task.target_mean

    def scores(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the predicted number."""
        return logits

    def outcomes(self, logits: Tensor, rows: Rows) -> list[str]:
        """Return the target for numbers near it, and other numbers as they are."""
        numbers: list[float] = logits.tolist()
        return [self.target if abs(each - self.value) < self.task.target_std else f"{each:.4g}" for each in numbers]

    def probabilities(self, logits: Tensor, rows: Rows) -> None:
        """Return None."""

    def rank(self, score: float) -> float:
        """Return a number that is lower, the further a number is from the predicted one."""
        return -abs(score - self.value)


class TagDecision(Decision):
    """Tags of the words of an entity, or of one word. The score is the sum of their log-odds.

    Args:
        task: the model.
        ids: token ids of the input.
        tags: number of the tag of each word.
        places: token of each word that the head reads.
        protected: positions of all tokens of the words.
        subject: the words.
    """

    kind = "tag"

    def __init__(
        self,
        task: TokenClassification,
        ids: Sequence[int],
        tags: Sequence[int],
        places: Sequence[int],
        protected: Sequence[int],
        subject: str,
    ) -> None:
        target = " ".join(task.labels[tag] for tag in tags)
        super().__init__(task, ids, target, places, protected=protected, subject=subject)
        self.task, self.tags = task, torch.tensor(tags, device=task.device)

    def logits(self, rows: Rows) -> Tensor:
        """Return the logits of the words, (B, P, L)."""
        is_read = torch.zeros_like(rows.attention_mask).scatter(1, rows.places, True)
        logits_WL: Tensor = self.task(rows.input_ids, rows.attention_mask, is_read)
        return logits_WL.float().unflatten(0, rows.places.shape)

    def scores(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the sum of the log-odds of the tags."""
        return log_odds(logits, self.tags.expand(logits.shape[:2])).sum(1)

    def outcomes(self, logits: Tensor, rows: Rows) -> list[str]:
        """Return the predicted tags of the words."""
        return [" ".join(self.task.labels[tag] for tag in tags) for tags in logits.argmax(2).tolist()]

    def probabilities(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the lowest probability among the tags."""
        return log_odds(logits, self.tags.expand(logits.shape[:2])).sigmoid().amin(1)


class AnswerDecision(Decision):
    """Answer to a question in one window of its context. The score is the sum of the log-odds of its start and end.

    Args:
        task: the model.
        ids: token ids of the window.
        span: positions of the first and the last token of the answer, or twice the null position for no answer.
        context: True for the tokens at which an answer may start or end.
        offsets: start and end of each token in characters of ``text``.
        null_position: position that stands for "no answer".
        other_null: lowest score of "no answer" in the other windows of the context.
        text: the context.
    """

    kind = "answer"

    def __init__(
        self,
        task: QuestionAnswering,
        ids: Sequence[int],
        span: tuple[int, int],
        context: Sequence[bool],
        offsets: Sequence[tuple[int, int]],
        null_position: int,
        other_null: float,
        text: str,
    ) -> None:
        self.offsets, self.text = list(offsets), text
        self.null_position, self.other_null = null_position, other_null
        has_answer = context[span[0]]
        answer = range(span[0], span[1] + 1) if has_answer else ()
        name = self._name(*span) if has_answer else NO_ANSWER
        super().__init__(task, ids, name, span, protected=[*answer, null_position])
        self.task, self.context = task, torch.tensor(context, device=task.device)

    def logits(self, rows: Rows) -> Tensor:
        """Return the logits of the first and the last token of the answer, (B, 2, T)."""
        is_null = (rows.positions == self.null_position) & rows.attention_mask
        starts_BT, ends_BT = self.task(rows.input_ids, rows.attention_mask, self._may_answer(rows) | is_null)
        return torch.stack((starts_BT, ends_BT), 1).float()

    def scores(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the sum of the log-odds of the first and the last token."""
        return log_odds(logits, rows.places).sum(1)

    def outcomes(self, logits: Tensor, rows: Rows) -> list[str]:
        """Return the predicted answers."""
        is_null = (rows.positions == self.null_position) & rows.attention_mask
        nulls = logits.masked_fill(~is_null.unsqueeze(1), 0.0).sum((1, 2)).tolist()
        masked = logits.masked_fill(~self._may_answer(rows).unsqueeze(1), MASKED_LOGIT)
        scores, firsts, lasts = best_spans(masked, self.task.max_answer_tokens)
        names = []
        for row, (null, score) in enumerate(zip(nulls, scores.tolist(), strict=True)):
            is_answered = min(null, self.other_null) - score < self.task.no_answer_threshold and score > MASKED_LOGIT / 2
            first, last = (int(rows.positions[row, place[row]]) for place in (firsts, lasts))
            names.append(self._name(first, last) if is_answered else NO_ANSWER)
        return names

    def probabilities(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the probability of the first token times that of the last, among the tokens of the window."""
        return log_odds(logits, rows.places).sigmoid().prod(1)

    def _may_answer(self, rows: Rows) -> Tensor:
        return self.context[rows.positions] & rows.attention_mask

    def _name(self, first: int, last: int) -> str:
        return self.text[self.offsets[first][0] : self.offsets[last][1]]


NO_ANSWER = "(no answer)"


def best_spans(logits: Tensor, max_tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the score, the first and the last token of the best span of each row, (B,) each.

    Args:
        logits: (B, 2, T) logits of the first and of the last token, with ``MASKED_LOGIT`` where no span may be.
        max_tokens: maximum number of tokens of a span.
    """
    width = logits.size(2)
    starts_BT, ends_BT = logits.unbind(1)
    is_span_TT = torch.ones(width, width, dtype=torch.bool, device=logits.device).triu().tril(max_tokens - 1)
    scores_BTT = (starts_BT.unsqueeze(2) + ends_BT.unsqueeze(1)).masked_fill(~is_span_TT, -math.inf)
    scores_B, flat_B = scores_BTT.flatten(1).max(1)
    return scores_B, flat_B // width, flat_B % width
