"""Decisions of a head about the rows of a batch, each with its input.

B windows, T tokens.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from gpt_lightning.data.base import DataModule
from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.explain.decision import Decision
from gpt_lightning.evaluation.explain.head_decisions import (
    AnswerDecision,
    LabelDecision,
    TagDecision,
    ValueDecision,
    best_spans,
)
from gpt_lightning.evaluation.explain.model_input import (
    EncodedText,
    ModelInput,
    decoded_input,
    encode,
    encode_words,
    find_slice,
    make_input,
    truncated_input,
)
from gpt_lightning.metrics import MultiLabelMetrics
from gpt_lightning.metrics.entity_f1 import entities
from gpt_lightning.tasks import QuestionAnswering, SequenceClassification, SequenceRegression, TokenClassification
from gpt_lightning.tasks.finite import require_finite
from gpt_lightning.tasks.question_answering import MASKED_LOGIT
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.tokenizers.tokenizer import Tokenizer


class Found(NamedTuple):
    """Decision about a row, with its input."""

    decision: Decision
    input: ModelInput


class RowDecisions(NamedTuple):
    """All decisions about one row."""

    id: str
    texts: dict[str, str]
    found: list[Found]


class HeadReader:
    """Reader of the inputs and decisions of a head.

    Args:
        task: the model.
        tokenizer: tokenizer of the model.
        module: data module of the rows, after ``setup("predict")``.
        layout: complete layout of the model's inputs.
        target: output to explain in place of the predicted one; None explains the prediction.
    """

    def __init__(
        self,
        task: SequenceClassification | SequenceRegression | TokenClassification | QuestionAnswering,
        tokenizer: Tokenizer,
        module: DataModule,
        layout: InputLayout,
        target: str | None,
    ) -> None:
        self.task, self.tokenizer, self.module, self.layout, self.target = task, tokenizer, module, layout, target
        examples = module.examples("test") if hasattr(module, "examples") else []
        self.examples = {str(example.id): example for example in examples}

    @torch.no_grad()
    def read(self, batch: Mapping[str, Any]) -> Iterator[RowDecisions]:
        """Yield the decisions about each row of a batch.

        Raises:
            InputError: the target is not possible.
            RunError: the output of the model is not finite.
        """
        task = self.task
        if isinstance(task, SequenceClassification):
            yield from self._labels(task, batch)
        elif isinstance(task, SequenceRegression):
            yield from self._values(task, batch)
        elif isinstance(task, TokenClassification):
            yield from self._tags(task, batch)
        else:
            yield from self._answers(task, batch)

    # --- whole texts

    def _labels(self, task: SequenceClassification, batch: Mapping[str, Any]) -> Iterator[RowDecisions]:
        logits_BL = task(batch["input_ids"], batch["attention_mask"]).float()
        require_finite(logits_BL, batch["ids"])
        given = None if self.target is None else [task.classes.index(_choose(self.target, task.classes, "label"))]
        for row, name in enumerate(batch["ids"]):
            texts, model_input = self._text_input(batch, row)
            labels = given or self._predicted(task, logits_BL[row])
            yield RowDecisions(
                name, texts, [Found(LabelDecision(task, model_input.ids, label), model_input) for label in labels]
            )

    def _predicted(self, task: SequenceClassification, logits_L: torch.Tensor) -> list[int]:
        """Return the predicted labels, or the most probable one if there is none."""
        order = logits_L.argsort(descending=True).tolist()
        if not task.multi_label:
            return order[:1]
        assert isinstance(task.test_metrics, MultiLabelMetrics)
        is_predicted = logits_L.sigmoid().cpu() >= task.test_metrics.thresholds.cpu()
        return [label for label in order if is_predicted[label]] or order[:1]

    def _values(self, task: SequenceRegression, batch: Mapping[str, Any]) -> Iterator[RowDecisions]:
        if self.target is not None:
            raise InputError("a SequenceRegression predicts one number, so it has no target to choose. Leave target out")
        predictions_B = task(batch["input_ids"], batch["attention_mask"]).float()
        require_finite(predictions_B, batch["ids"])
        for row, name in enumerate(batch["ids"]):
            texts, model_input = self._text_input(batch, row)
            value = float(predictions_B[row]) * task.target_std + task.target_mean
            yield RowDecisions(name, texts, [Found(ValueDecision(task, model_input.ids, value), model_input)])

    def _text_input(self, batch: Mapping[str, Any], row: int) -> tuple[dict[str, str], ModelInput]:
        """Return the texts of a row by name, and its input."""
        example, ids = self.examples.get(batch["ids"][row]), _row_ids(batch, row)
        given: Sequence[str] = getattr(example, "texts", batch["texts"][row : row + 1])
        names = ["text"] if len(given) == 1 else getattr(self.module, "text_columns", ["first", "second"])
        texts = dict(zip(names, given, strict=True))
        encoded = [encode(self.tokenizer, name, text) for name, text in texts.items()]
        found = truncated_input(self.tokenizer, self.layout, encoded, self.task.backbone.config.block_size)
        return texts, found if found.ids == ids else decoded_input(self.tokenizer, ids, "text")

    # --- tags

    def _tags(self, task: TokenClassification, batch: Mapping[str, Any]) -> Iterator[RowDecisions]:
        logits_WL = task(batch["input_ids"], batch["attention_mask"], batch["scored"]).float()
        require_finite(logits_WL, batch["ids"])
        windows_W, tokens_W = batch["scored"].nonzero().unbind(1)
        rows_W = batch["examples"][windows_W]
        for row, (name, text, words) in enumerate(zip(batch["ids"], batch["texts"], batch["words"], strict=True)):
            is_row = rows_W == row
            logits = logits_WL[is_row]
            places = list(zip(windows_W[is_row].tolist(), tokens_W[is_row].tolist(), strict=True))
            groups = self._tag_groups(task, logits, text, words)
            found = [self._tag(task, batch, places, text, words, first, tags) for first, tags in groups]
            yield RowDecisions(name, {"text": text}, found)

    def _tag_groups(
        self, task: TokenClassification, logits_WL: torch.Tensor, text: str, words: Sequence[tuple[int, int]]
    ) -> list[tuple[int, list[int]]]:
        """Return the first word and the tags of each entity, or of the given word.

        Without an entity, it is the word that is the most probable to be in one.
        """
        predicted: list[int] = logits_WL.argmax(1).tolist()
        if self.target is not None:
            word, tag = self._given_word(task, text, words)
            return [(word, [predicted[word] if tag is None else tag])]
        found = entities([task.labels[tag] for tag in predicted])
        if found:
            return [(first, predicted[first:stop]) for _, first, stop in found]
        least = int(logits_WL.softmax(1).amax(1).argmin())
        return [(least, [predicted[least]])]

    def _given_word(
        self, task: TokenClassification, text: str, words: Sequence[tuple[int, int]]
    ) -> tuple[int, int | None]:
        """Return the index of the word that the target names, and its tag if it names one: ``WORD`` or ``WORD=TAG``."""
        assert self.target is not None
        names = [text[start:end] for start, end in words]
        if self.target in names:
            return names.index(self.target), None
        word, separator, tag = self.target.rpartition("=")
        if not separator:
            word, tag = self.target, ""
        place = names.index(_choose(word, names, "word"))
        return place, task.labels.index(_choose(tag, task.labels, "tag")) if separator else None

    def _tag(
        self,
        task: TokenClassification,
        batch: Mapping[str, Any],
        places: Sequence[tuple[int, int]],
        text: str,
        words: Sequence[tuple[int, int]],
        first: int,
        tags: Sequence[int],
    ) -> Found:
        """Return the decision about consecutive words, as far as they are in the window of the first."""
        window = places[first][0]
        inside = [place for number, place in places[first : first + len(tags)] if number == window]
        stop = first + len(inside)
        model_input = self._window_input(
            _row_ids(batch, window),
            [encode(self.tokenizer, "text", text, words), encode_words(self.tokenizer, "text", text, words)],
        )
        start, end = words[first][0], words[stop - 1][1]
        protected = [
            place for word in model_input.words if word.start < end and word.end > start for place in word.tokens
        ]
        decision = TagDecision(
            task, model_input.ids, tags[: len(inside)], inside, [*inside, *protected], text[start:end]
        )
        return Found(decision, model_input)

    def _window_input(self, ids: list[int], encodings: Iterable[EncodedText]) -> ModelInput:
        """Return the input of a window over a text, in the first encoding whose tokens it contains."""
        prefix, _, suffix = self.layout.parts
        inner = ids[len(prefix) : len(ids) - len(suffix)]
        for text in encodings:
            start = find_slice(inner, text.ids.tolist())
            if start is not None:
                return make_input(
                    self.tokenizer, [text], [*prefix, *((0, start + index) for index in range(len(inner))), *suffix]
                )
        return decoded_input(self.tokenizer, ids, "text")

    # --- answers

    def _answers(self, task: QuestionAnswering, batch: Mapping[str, Any]) -> Iterator[RowDecisions]:
        allowed = batch["context_mask"].scatter(1, batch["null_positions"].unsqueeze(1), True)
        logits_B2T = torch.stack(task(batch["input_ids"], batch["attention_mask"], allowed), 1)
        require_finite(logits_B2T, batch["ids"])
        nulls_B = logits_B2T.gather(2, batch["null_positions"][:, None, None].expand(-1, 2, 1)).sum((1, 2))
        masked = logits_B2T.masked_fill(~batch["context_mask"].unsqueeze(1), MASKED_LOGIT)
        scores_B, firsts_B, lasts_B = best_spans(masked, task.max_answer_tokens)
        for row, name in enumerate(batch["ids"]):
            windows = (batch["examples"] == row).nonzero().flatten().tolist()
            window = max(windows, key=lambda number: float(scores_B[number]))
            span = int(firsts_B[window]), int(lasts_B[window])
            null = min(float(nulls_B[number]) for number in windows)
            texts = {"question": batch["questions"][row], "context": batch["contexts"][row]}
            if self.target is not None:
                window, span = self._given_span(batch, windows, texts["context"])
            elif null - float(scores_B[window]) >= task.no_answer_threshold:
                span = (int(batch["null_positions"][window]),) * 2
            others = [float(nulls_B[number]) for number in windows if number != window]
            model_input = self._question_input(batch, window, texts)
            decision = AnswerDecision(
                task,
                model_input.ids,
                span,
                batch["context_mask"][window].tolist(),
                batch["offsets"][window].tolist(),
                int(batch["null_positions"][window]),
                min(others, default=torch.inf),
                texts["context"],
            )
            yield RowDecisions(name, texts, [Found(decision, model_input)])

    def _given_span(
        self, batch: Mapping[str, Any], windows: Sequence[int], context: str
    ) -> tuple[int, tuple[int, int]]:
        """Return the window and the first and last token of the first place where the target stands in the context."""
        assert self.target is not None
        start = context.find(self.target)
        end = start + len(self.target)
        for window in windows if start >= 0 and self.target else ():
            is_inside = batch["context_mask"][window] & (batch["offsets"][window][:, 0] < end)
            tokens = (is_inside & (batch["offsets"][window][:, 1] > start)).nonzero().flatten().tolist()
            if tokens and batch["offsets"][window][tokens[0], 0] <= start and batch["offsets"][window][tokens[-1], 1] >= end:
                return window, (tokens[0], tokens[-1])
        raise InputError(
            f"the answer {short_repr(self.target)} is not in the context of the row. Copy it from the context"
        )

    def _question_input(self, batch: Mapping[str, Any], window: int, texts: Mapping[str, str]) -> ModelInput:
        """Return the input of a window: the question, which may be truncated, and a part of the context."""
        ids = _row_ids(batch, window)
        prefix, separator, suffix = self.layout.parts
        question, context = (encode(self.tokenizer, name, text) for name, text in texts.items())
        asked = question.ids[: getattr(self.module, "max_question_tokens", len(question.ids))]
        before = [*prefix, *asked.tolist(), *separator]
        inner = ids[len(before) : len(ids) - len(suffix)]
        start = find_slice(inner, context.ids.tolist())
        if start is None or ids[: len(before)] != before:
            return decoded_input(self.tokenizer, ids, "text")
        return make_input(
            self.tokenizer,
            [question, context],
            [
                *prefix,
                *((0, index) for index in range(len(asked))),
                *separator,
                *((1, start + index) for index in range(len(inner))),
                *suffix,
            ],
        )


def _row_ids(batch: Mapping[str, Any], window: int) -> list[int]:
    """Return the token ids of a window without padding."""
    ids: list[int] = batch["input_ids"][window][batch["attention_mask"][window].bool()].tolist()
    return ids


def _choose(name: str, names: Sequence[str], noun: str) -> str:
    """Return ``name`` if it is one of ``names``.

    Raises:
        InputError: it is not; the message names the nearest one.
    """
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    hint = f"Did you mean {short_repr(near[0])}?" if near else f"There is no {noun}"
    raise InputError(f"unknown {noun} {short_repr(name)}. {hint}")
