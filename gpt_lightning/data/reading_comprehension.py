"""Data module for extractive question answering."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gpt_lightning.batch import IGNORE_INDEX, QuestionAnsweringBatch
from gpt_lightning.data.base import CutRow, Split
from gpt_lightning.data.labeled import Labeled
from gpt_lightning.data.length_batching import InMemoryRows, digest, mask, pad
from gpt_lightning.data.overlapping_windows import Window, token_windows
from gpt_lightning.data.settings import LabeledSettings
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.squad import Question, answer_tokens, parse_questions
from gpt_lightning.data.sources.unicode_forms import Form
from gpt_lightning.data.word_swaps.swaps import Swap
from gpt_lightning.errors import InputError
from gpt_lightning.ranges import check_count
from gpt_lightning.unpack import Unpack


@dataclass(frozen=True, slots=True)
class _Context:
    """Tokenized context: (N,) ids, (N, 2) offsets without whitespace, (N,) False for whitespace tokens."""

    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    has_text: NDArray[np.bool_]


class _Window(NamedTuple):
    """Model input for a question and a part of its context: (T,) arrays and (T, 2) offsets."""

    input_ids: NDArray[np.int64]
    context_mask: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    start: int
    end: int
    null_position: int


class ReadingComprehension(Labeled[Question]):
    """Questions about contexts, for extractive question answering.

    Files are SQuAD's nested ``.json``, or rows with a question, a context and answers. Answers are a list of
    ``{"text", "answer_start"}``, or ``{"text": [...], "answer_start": [...]}``. If the context has no answer, they are
    empty, or ``is_impossible`` is true.

    Args:
        question_column: column with the question.
        context_column: column with the context.
        answers_column: column with the answers. Training uses the first one.
        normalize: Unicode form, ``nfc`` or ``nfkc``, in which answers that differ from their context are compared with
            it. The context itself stays as it is. By default, such answers are invalid.
        max_question_tokens: maximum length of a question in tokens. Longer questions are truncated.
        stride: number of tokens that neighboring windows of a long context share. An answer that is longer may be in no
            window, so raise it for long answers. More overlap takes longer.
    """

    batch: ClassVar[type] = QuestionAnsweringBatch
    hold_out_attribute: ClassVar[str] = "context"
    supports_copies: ClassVar[bool] = True

    def __init__(
        self,
        question_column: str = "question",
        context_column: str = "context",
        answers_column: str = "answers",
        normalize: Form | None = None,
        max_question_tokens: int = 64,
        stride: int = 64,
        **settings: Unpack[LabeledSettings],
    ) -> None:
        super().__init__(**settings)
        check_count("--data.max_question_tokens", max_question_tokens, least=0)
        check_count("--data.stride", stride, least=0)
        self.question_column = question_column
        self.context_column = context_column
        self.answers_column = answers_column
        self.normalize = normalize
        self.max_question_tokens = max_question_tokens
        self.stride = stride

    def has_unanswerable(self, split: Split) -> bool:
        """Return whether a question of a split has no answer in its context."""
        return any(not example.answers for example in self.examples(split))

    def content(self, example: Question) -> object:
        """Return question and context."""
        return example.question, example.context

    def training_texts(self) -> Iterator[str]:
        """Yield each training context once, and then all questions."""
        contexts = dict.fromkeys(example.context for example in self.examples("train"))
        yield from contexts
        yield from (example.question for example in self.examples("train"))

    def parse_rows(self, rows: Iterator[Row], split: Split, has_labels: bool) -> Iterator[Question | InputError]:
        """Yield the questions of each row and, with ``has_labels``, their answers."""
        parsed = parse_questions(
            rows,
            has_labels=has_labels,
            id_column=self.id_column,
            question_column=self.question_column,
            context_column=self.context_column,
            answers_column=self.answers_column,
            form=self.normalize,
        )
        for number, item in enumerate(parsed):
            yield replace(item, id=str(number)) if isinstance(item, Question) and item.id is None else item

    def swapped(self, example: Question, swap: Swap) -> Question:
        """Return a question with swapped words in question, context and answers.

        An answer that begins or ends inside of a swapped word is extended to the whole word.
        """
        context = swap(example.context)
        places = [context.moved(start, start + len(text)) for text, start in example.answers]
        return replace(
            example,
            question=swap(example.question).text,
            context=context.text,
            answers=tuple((context.text[start:end], start) for start, end in places),
        )

    def open_split(self, split: Split) -> InMemoryRows:
        """Return the questions of a split with the windows of their contexts.

        In training each window is a row. In evaluation all windows of a question are one row.
        """
        examples = self.examples(split)
        has_labels = self.stage != "predict"
        encoded = self._windows(split, examples, has_labels)
        is_training = split == "train"
        units = [[window] for windows in encoded for window in windows] if is_training else encoded
        owners = [number for number, windows in enumerate(encoded) for _ in (windows if is_training else [None])]
        if is_training:  # only predictions need offsets
            units = [[window._replace(offsets=window.offsets[:0])] for (window,) in units]
        end_of_text = self.tokenizer.end_of_text_id
        padding = _Window(
            np.array([end_of_text]), np.array([False]), np.zeros((1, 2), dtype=np.int64), IGNORE_INDEX, IGNORE_INDEX, 0
        )

        def collate(rows: list[int], num_padding: int) -> QuestionAnsweringBatch:
            windows = [window for row in rows for window in units[row]] + [padding] * num_padding
            lengths = [len(window.input_ids) for window in windows]
            indices = [index for index, row in enumerate(rows) for _ in units[row]]
            batch = QuestionAnsweringBatch(
                input_ids=pad([window.input_ids for window in windows], end_of_text),
                attention_mask=mask(lengths),
                start_positions=torch.tensor([window.start for window in windows]),
                end_positions=torch.tensor([window.end for window in windows]),
                context_mask=pad([window.context_mask for window in windows], False),
                null_positions=torch.tensor([window.null_position for window in windows]),
                examples=torch.tensor(indices + [-1] * num_padding),
                ids=[str(examples[owners[row]].id) for row in rows],
            )
            if not is_training:
                chosen = [examples[row] for row in rows]
                batch["offsets"] = pad([window.offsets for window in windows], 0)
                batch["questions"] = [example.question for example in chosen]
                batch["contexts"] = [example.context for example in chosen]
                batch["answers"] = [[text for text, _ in example.answers] for example in chosen]
            return batch

        lengths = [sum(len(window.input_ids) for window in unit) for unit in units]
        arrays = (
            array
            for unit in units
            for window in unit
            for array in (window.input_ids, np.array((window.start, window.end)))
        )
        ids = [(str(examples[owner].id),) for owner in owners]
        return InMemoryRows(len(units), self.epoch_order(split, lengths), collate, digest(arrays), ids)

    def _windows(self, split: Split, examples: list[Question], has_labels: bool) -> list[list[_Window]]:
        """Return the windows of each question."""
        question_ids = self.tokenizer.encode_batch([example.question for example in examples])
        self.cut_rows[split] = too_long = [
            CutRow(example.where, len(ids), len(ids) - self.max_question_tokens, "--data.max_question_tokens")
            for example, ids in zip(examples, question_ids, strict=True)
            if len(ids) > self.max_question_tokens
        ]
        if too_long:
            self.report(
                split,
                f"{len(too_long):,} of {len(examples):,} questions were truncated to {self.max_question_tokens} "
                "tokens; raise --data.max_question_tokens to keep all of their tokens",
            )
        contexts = self._contexts(examples)
        separator = self.layout.parts[1]
        encoded = []
        for example, question in zip(examples, question_ids, strict=True):
            asked = np.array([*question[: self.max_question_tokens], *separator], dtype=np.int64)
            encoded.append(self._cut_context(asked, contexts[example.context], example, has_labels))
        num_lost = sum(
            bool(example.answers) and all(window.start == window.null_position for window in windows)
            for example, windows in zip(examples, encoded, strict=True)
        )
        if num_lost:
            self.report(
                split,
                f"{num_lost:,} of {len(examples):,} questions have an answer that no window contains, because it is "
                f"longer than the overlap of windows; raise --data.stride above {self.stride}",
            )
        return encoded

    def _contexts(self, examples: list[Question]) -> dict[str, _Context]:
        """Return each context tokenized; a context with several questions is tokenized once."""
        texts = list(dict.fromkeys(example.context for example in examples))
        result = {}
        for text, (ids, offsets) in zip(texts, self.tokenizer.encode_with_offsets(texts), strict=True):
            pieces = [text[start:end] for start, end in offsets]
            before = np.array([len(piece) - len(piece.lstrip()) for piece in pieces], dtype=np.int64)
            after = np.array([len(piece) - len(piece.rstrip()) for piece in pieces], dtype=np.int64)
            has_text = np.array([bool(piece.strip()) for piece in pieces], dtype=np.bool_)
            stripped = offsets + np.where(has_text[:, None], np.stack((before, -after), axis=1), 0)
            result[text] = _Context(ids, stripped, has_text)
        return result

    def _cut_context(
        self, question: NDArray[np.int64], context: _Context, example: Question, has_labels: bool
    ) -> list[_Window]:
        """Return the windows of a context, each after ``question``, which includes the separator.

        With two copies, question and context are repeated, and the answer is in the second copy of the context.
        The null position is the last token of the suffix or, in a layout without one, the first token of the input, as
        in Hugging Face's scripts.
        """
        prefix, _, suffix = self.layout.parts
        room = self.layout.copy_size(self.block_size) - len(question)
        if room <= self.stride and len(context.ids) > room:
            raise InputError(
                f"{example.where}: with a question of {len(prefix) + len(question)} tokens, "
                f"block_size={self.block_size}{' for two copies' if self.layout.copies > 1 else ''} leaves {room} "
                f"tokens for the context, not more than --data.stride={self.stride}; raise "
                "--model.backbone.block_size, or lower --data.stride or --data.max_question_tokens"
            )
        answer = None
        if has_labels and example.answers:
            text, answer_start = example.answers[0]
            answer = answer_tokens(answer_start, answer_start + len(text), context.offsets)
        stride = self.stride if len(context.ids) > room else 0
        result = []
        for window in token_windows(len(context.ids), room, stride) or [Window(0, 0, 0, 0)]:
            first, stop = window.first_word, window.stop_word
            last_copy = np.concatenate((question, context.ids[first:stop]))
            prompt = np.concatenate((self.layout.before_last_copy(last_copy), question))
            null_position = len(prompt) + stop - first + len(suffix) - 1 if suffix else 0
            start = end = null_position if has_labels else IGNORE_INDEX
            if answer is not None and first <= answer[0] and answer[1] < stop:
                start, end = (len(prompt) + token - first for token in answer)
            pad_width = (len(prompt), len(suffix))
            result.append(
                _Window(
                    np.concatenate((prompt, context.ids[first:stop], np.array(suffix, dtype=np.int64))),
                    np.pad(context.has_text[first:stop], pad_width),
                    np.pad(context.offsets[first:stop], (pad_width, (0, 0))),
                    start,
                    end,
                    null_position,
                )
            )
        return result
