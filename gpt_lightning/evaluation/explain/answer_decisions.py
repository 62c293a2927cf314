"""Decisions about questions: the answer in a context.

B windows, T tokens.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.explain.decision import (
    Decision,
    Found,
    Reading,
    RowDecisions,
    Rows,
    log_odds,
    window_ids,
)
from gpt_lightning.evaluation.explain.model_input import ModelInput, decoded_input, encode, find_slice, make_input
from gpt_lightning.tasks import QuestionAnswering
from gpt_lightning.tasks.finite import require_finite
from gpt_lightning.tasks.question_answering import MASKED_LOGIT

NO_ANSWER: Final = "(no answer)"


class OtherWindows(NamedTuple):
    """Decision of the other windows of a context."""

    null: float
    """Lowest score of "no answer"."""
    score: float
    """Score of the best answer that is not the explained one."""
    answer: str
    """That answer."""


class AnswerDecision(Decision):
    """Answer to a question in one window of its context. The score is the sum of the log-odds of its start and end.

    Args:
        task: the model.
        ids: token ids of the window.
        span: positions of the first and the last token of the answer, or twice the null position for no answer.
        context: True for the tokens at which an answer may start or end.
        offsets: start and end of each token in characters of ``text``.
        null_position: position that stands for "no answer".
        others: decision of the other windows of the context.
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
        others: OtherWindows,
        text: str,
    ) -> None:
        self.offsets, self.text = list(offsets), text
        self.null_position, self.others = null_position, others
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
        """Return the predicted answers, as far as the tokens of this window change them."""
        is_null = (rows.positions == self.null_position) & rows.attention_mask
        nulls = logits.masked_fill(~is_null.unsqueeze(1), 0.0).sum((1, 2)).tolist()
        masked = logits.masked_fill(~self._may_answer(rows).unsqueeze(1), MASKED_LOGIT)
        scores_B1, firsts_B1, lasts_B1 = self.task.best_spans(masked[:, 0], masked[:, 1], 1)
        names = []
        for row, (null, score) in enumerate(zip(nulls, scores_B1.squeeze(1).tolist(), strict=True)):
            first, last = (int(rows.positions[row, place[row, 0]]) for place in (firsts_B1, lasts_B1))
            best = max(score, self.others.score)
            is_answered = min(null, self.others.null) - best < self.task.no_answer_threshold and best > MASKED_LOGIT / 2
            name = self._name(first, last) if score >= self.others.score else self.others.answer
            names.append(name if is_answered else NO_ANSWER)
        return names

    def probabilities(self, logits: Tensor, rows: Rows) -> Tensor:
        """Return the probability of the first token times that of the last, among the tokens of the window."""
        return log_odds(logits, rows.places).sigmoid().prod(1)

    def _may_answer(self, rows: Rows) -> Tensor:
        return self.context[rows.positions] & rows.attention_mask

    def _name(self, first: int, last: int) -> str:
        return self.text[self.offsets[first][0] : self.offsets[last][1]]


def answer_decisions(task: QuestionAnswering, batch: Mapping[str, Any], reading: Reading) -> Iterator[RowDecisions]:
    """Yield the decision about each question of a batch: its answer, in the window with the best span, or the target.

    Raises:
        InputError: the target is not in the context.
        RunError: the output of the model is not finite.
    """
    nulls_at = batch["null_positions"].unsqueeze(1)
    allowed = batch["context_mask"].scatter(1, nulls_at, True)
    logits_B2T = torch.stack(task(batch["input_ids"], batch["attention_mask"], allowed), 1)
    require_finite(logits_B2T, batch["ids"])
    nulls = logits_B2T.sum(1).gather(1, nulls_at).squeeze(1).tolist()
    masked_B2T = logits_B2T.masked_fill(~batch["context_mask"].unsqueeze(1), MASKED_LOGIT)
    scores_BN, firsts_BN, lasts_BN = (each.tolist() for each in task.best_spans(masked_B2T[:, 0], masked_B2T[:, 1], 2))
    offsets: list[list[tuple[int, int]]] = batch["offsets"].tolist()
    for row, name in enumerate(batch["ids"]):
        texts = {"question": batch["questions"][row], "context": batch["contexts"][row]}
        windows: list[int] = (batch["examples"] == row).nonzero().flatten().tolist()
        if reading.target is not None:
            window, span = _given_span(batch, windows, logits_B2T, texts["context"], reading.target)
        else:
            window = max(windows, key=lambda each: scores_BN[each][0])
            is_null = min(nulls[each] for each in windows) - scores_BN[window][0] >= task.no_answer_threshold
            null = int(batch["null_positions"][window])
            span = (null, null) if is_null else (firsts_BN[window][0], lasts_BN[window][0])
        explained = offsets[window][span[0]][0], offsets[window][span[1]][1]
        others = [each for each in windows if each != window]
        spans = [
            (score, offsets[each][first][0], offsets[each][last][1])
            for each in others
            for score, first, last in zip(scores_BN[each], firsts_BN[each], lasts_BN[each], strict=True)
        ]
        # The explained answer may be in another window, too, which must not keep it when words are removed.
        score, start, end = max((each for each in spans if each[1:] != explained), default=(-math.inf, 0, 0))
        lowest_null = min((nulls[each] for each in others), default=math.inf)
        model_input = _question_input(window_ids(batch, window), texts, reading)
        decision = AnswerDecision(
            task,
            model_input.ids,
            span,
            batch["context_mask"][window].tolist(),
            offsets[window],
            int(batch["null_positions"][window]),
            OtherWindows(lowest_null, score, texts["context"][start:end]),
            texts["context"],
        )
        yield RowDecisions(name, texts, [Found(decision, model_input)])


def _given_span(
    batch: Mapping[str, Any], windows: Sequence[int], logits_B2T: Tensor, context: str, target: str
) -> tuple[int, tuple[int, int]]:
    """Return the first place where the context has the target, in the window with its highest score.

    Returns:
        The window, and the first and last token of the target.
    """
    start = context.find(target) if target else -1
    end = start + len(target)
    found: list[tuple[float, int, tuple[int, int]]] = []
    for window in windows if start >= 0 else ():
        starts_T, ends_T = batch["offsets"][window].unbind(1)
        is_inside_T = batch["context_mask"][window] & (starts_T < end) & (ends_T > start)
        tokens: list[int] = is_inside_T.nonzero().flatten().tolist()
        if tokens and starts_T[tokens[0]] <= start and ends_T[tokens[-1]] >= end:
            first, last = tokens[0], tokens[-1]
            found.append((float(logits_B2T[window, 0, first] + logits_B2T[window, 1, last]), window, (first, last)))
    if not found:
        raise InputError(
            f"target: {short_repr(target)} is not in the context of the row. Copy the answer from the context"
        )
    _, window, span = max(found)
    return window, span


def _question_input(ids: list[int], texts: Mapping[str, str], reading: Reading) -> ModelInput:
    """Return the input of a window: the question, which may be truncated, and a part of the context."""
    tokenizer = reading.tokenizer
    prefix, separator, suffix = reading.layout.parts
    question, context = (encode(tokenizer, name, text) for name, text in texts.items())
    asked = question.ids[: getattr(reading.module, "max_question_tokens", len(question.ids))].tolist()
    before = [*prefix, *asked, *separator]
    inner = ids[len(before) : len(ids) - len(suffix)]
    start = find_slice(inner, context.ids.tolist())
    if start is None or ids[: len(before)] != before:
        return decoded_input(tokenizer, ids, "text")
    asked_places = [(0, index) for index in range(len(asked))]
    context_places = [(1, start + index) for index in range(len(inner))]
    sources: list[tuple[int, int] | int] = [*prefix, *asked_places, *separator, *context_places, *suffix]
    return make_input(tokenizer, [question, context], sources)
