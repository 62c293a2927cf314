"""Questions about contexts, from files or the hub to batches."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gpt_lightning.batch import IGNORE_INDEX, QuestionAnsweringBatch
from gpt_lightning.data.base import Split
from gpt_lightning.data.labelled import Labelled, OnBadRow
from gpt_lightning.data.length_batching import InMemory, digest, mask, pad
from gpt_lightning.data.overlapping_windows import Window, token_windows
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.squad import Question, answer_tokens, questions
from gpt_lightning.errors import InputError


@dataclass(frozen=True, slots=True)
class _Context:
    """A context, tokenised: (N,) ids, (N, 2) places without blanks, (N,) whether there is more than blanks."""

    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    solid: NDArray[np.bool_]


class _Window(NamedTuple):
    """A question with a part of its context, as the model sees them: (T,) and (T, 2)."""

    input_ids: NDArray[np.int64]
    context_mask: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    start: int
    end: int


class ReadingComprehension(Labelled[Question]):
    """Questions whose answers stand in a context, or nowhere.

    Rows come flat (``context``, ``question``, ``answers`` as ``{"text": [...], "answer_start": [...]}`` or as a list of
    ``{"text", "answer_start"}``; none, or ``is_impossible``, where there is no answer) or in SQuAD's nested ``.json``.

    Args:
        train: source of the training rows (a file, a folder, a glob, ``hub:NAME[:CONFIG][@SPLIT]``, or a list).
        validation: source of the rows that are judged during training.
        test: source of the rows that are judged at the end, or predicted (then without answers, if need be).
        question_column: the column that holds the question.
        context_column: the column that holds the context.
        answers_column: the column that holds the answers; training learns the first.
        id_column: the column that names each row; where it is absent, rows are numbered from 0.
        max_question_tokens: longer questions are cut.
        stride: contexts longer than the model are cut into windows that share so many tokens.
        on_bad_row: ``stop`` at a row that cannot be used, or ``skip`` it and print how many were for which reason.
        tokenizer: ``characters``, ``bytes``, ``bpe:SIZE`` (the first and the last are made from the training text), a
            ``tokenizer.json``, a folder with one or with GPT-2's vocabulary files, or ``hub:NAME``.
        block_size: tokens of the longest window, with its question; follows the model's.
        batch_size: questions (in training, windows) of a batch on each device.
        num_workers: processes that prepare batches ahead.
        seed: decides the order; None takes ``seed_everything``.
        cache_dir: where trained tokenizers are kept.
    """

    batch: ClassVar[type] = QuestionAnsweringBatch

    def __init__(
        self,
        train: str | list[str] | None = None,
        validation: str | list[str] | None = None,
        test: str | list[str] | None = None,
        question_column: str = "question",
        context_column: str = "context",
        answers_column: str = "answers",
        id_column: str = "id",
        max_question_tokens: int = 64,
        stride: int = 64,
        on_bad_row: OnBadRow = "stop",
        tokenizer: str = "bpe:4096",
        block_size: int = 1024,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int | None = None,
        cache_dir: str = "~/.cache/gpt_lightning",
    ) -> None:
        super().__init__(
            train, validation, test, on_bad_row, tokenizer, block_size, batch_size, num_workers, seed, cache_dir
        )
        self.question_column = question_column
        self.context_column = context_column
        self.answers_column = answers_column
        self.id_column = id_column
        self.max_question_tokens = max_question_tokens
        self.stride = stride

    def _training_texts(self) -> Iterator[str]:
        contexts = dict.fromkeys(example.context for example in self.examples("train"))
        yield from contexts
        yield from (example.question for example in self.examples("train"))

    def _text_columns(self) -> str:
        return f"{self.context_column} {self.question_column} {self.answers_column} {self.on_bad_row}"

    def _parse(self, rows: Iterator[Row], split: Split, labelled: bool) -> Iterator[Question | InputError]:
        found = questions(
            rows,
            labelled=labelled,
            id_column=self.id_column,
            question_column=self.question_column,
            context_column=self.context_column,
            answers_column=self.answers_column,
        )
        for number, each in enumerate(found):
            yield replace(each, id=str(number)) if isinstance(each, Question) and each.id is None else each

    def _open(self, split: Split) -> InMemory:
        examples = self.examples(split)
        labelled = self._function != "predict"
        encoded = self._windows(split, examples, labelled)
        training = split == "train"
        # While training every window is a row of its own; when judging all windows of a question stay together.
        units = [[window] for windows in encoded for window in windows] if training else encoded
        owners = [place for place, windows in enumerate(encoded) for _ in (windows if training else [None])]
        if training:  # which needs no places in the text
            units = [[window._replace(offsets=window.offsets[:0])] for (window,) in units]
        end_of_text = self.tokenizer.end_of_text_id
        nothing = _Window(
            np.array([end_of_text]), np.array([False]), np.zeros((1, 2), dtype=np.int64), IGNORE_INDEX, IGNORE_INDEX
        )

        def collate(rows: list[int], num_padding: int) -> QuestionAnsweringBatch:
            windows = [window for row in rows for window in units[row]] + [nothing] * num_padding
            lengths = [len(window.input_ids) for window in windows]
            places = [place for place, row in enumerate(rows) for _ in units[row]]
            batch = QuestionAnsweringBatch(
                input_ids=pad([window.input_ids for window in windows], end_of_text),
                attention_mask=mask(lengths),
                start_positions=torch.tensor([window.start for window in windows]),
                end_positions=torch.tensor([window.end for window in windows]),
                context_mask=pad([window.context_mask for window in windows], False),
                null_positions=torch.tensor(lengths) - 1,
                examples=torch.tensor(places + [-1] * num_padding),
                ids=[str(examples[owners[row]].id) for row in rows],
            )
            if not training:
                chosen = [examples[row] for row in rows]
                batch["offsets"] = pad([window.offsets for window in windows], 0)
                batch["questions"] = [example.question for example in chosen]
                batch["contexts"] = [example.context for example in chosen]
                batch["answers"] = [[text for text, _ in example.answers] for example in chosen]
            return batch

        lengths = [sum(len(window.input_ids) for window in unit) for unit in units]
        seen = (
            array
            for unit in units
            for window in unit
            for array in (window.input_ids, np.array((window.start, window.end)))
        )
        return InMemory(len(units), self._order(split, lengths), collate, digest(seen))

    def _windows(self, split: Split, examples: list[Question], labelled: bool) -> list[list[_Window]]:
        """The windows of each question."""
        asked = self.tokenizer.encode_batch([example.question for example in examples])
        too_long = sum(len(ids) > self.max_question_tokens for ids in asked)
        if too_long:
            self._report(
                split,
                f"{too_long:,} of {len(examples):,} questions were cut to {self.max_question_tokens} tokens; "
                "raise --data.max_question_tokens to see all of them",
            )
        contexts = self._contexts(examples)
        line_end = self.tokenizer.encode("\n")
        windows = []
        for example, question in zip(examples, asked, strict=True):
            prompt = np.array(
                [self.tokenizer.end_of_text_id, *question[: self.max_question_tokens], *line_end], dtype=np.int64
            )
            windows.append(self._cut(prompt, contexts[example.context], example, labelled))
        in_no_window = sum(
            bool(example.answers) and all(window.start == len(window.input_ids) - 1 for window in mine)
            for example, mine in zip(examples, windows, strict=True)
        )
        if in_no_window:
            self._report(
                split,
                f"{in_no_window:,} of {len(examples):,} questions have an answer longer than what windows share, which "
                "none of them shows; raise --data.stride",
            )
        return windows

    def _contexts(self, examples: list[Question]) -> dict[str, _Context]:
        """Every context once, however many questions it has."""
        texts = list(dict.fromkeys(example.context for example in examples))
        result = {}
        for text, (ids, offsets) in zip(texts, self.tokenizer.encode_with_offsets(texts), strict=True):
            pieces = [text[start:end] for start, end in offsets]
            before = np.array([len(piece) - len(piece.lstrip()) for piece in pieces], dtype=np.int64)
            after = np.array([len(piece) - len(piece.rstrip()) for piece in pieces], dtype=np.int64)
            solid = np.array([bool(piece.strip()) for piece in pieces], dtype=np.bool_)
            stripped = offsets + np.where(solid[:, None], np.stack((before, -after), axis=1), 0)
            result[text] = _Context(ids, stripped, solid)
        return result

    def _cut(self, prompt: NDArray[np.int64], context: _Context, example: Question, labelled: bool) -> list[_Window]:
        room = self.block_size - len(prompt) - 1
        if room <= self.stride and len(context.ids) > room:
            raise InputError(
                f"{example.where}: beside a question of {len(prompt)} tokens, block_size={self.block_size} leaves "
                f"{room} for the context, not more than --data.stride={self.stride}; raise --model.backbone.block_size "
                "or lower --data.stride or --data.max_question_tokens"
            )
        answer = None
        if labelled and example.answers:
            text, start = example.answers[0]
            answer = answer_tokens(start, start + len(text), context.offsets)
        stride = self.stride if len(context.ids) > room else 0
        result = []
        for window in token_windows(len(context.ids), room, stride) or [Window(0, 0, 0, 0)]:
            first, stop = window.first_word, window.stop_word
            null = len(prompt) + stop - first
            begin = end = null if labelled else IGNORE_INDEX
            if answer is not None and first <= answer[0] and answer[1] < stop:
                begin, end = (len(prompt) + token - first for token in answer)
            around = (len(prompt), 1)
            result.append(
                _Window(
                    np.concatenate((prompt, context.ids[first:stop], [self.tokenizer.end_of_text_id])),
                    np.pad(context.solid[first:stop], around),
                    np.pad(context.offsets[first:stop], (around, (0, 0))),
                    begin,
                    end,
                )
            )
        return result
