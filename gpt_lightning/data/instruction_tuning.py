"""Data module for instruction tuning: conversations whose answers a language model learns to give."""

import calendar
import os
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cached_property
from typing import ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray

from gpt_lightning.batch import IGNORE_INDEX, LanguageModelingBatch
from gpt_lightning.data.base import DATE, DATE_VARIABLE, CutRow, Split
from gpt_lightning.data.best_fit import best_fit
from gpt_lightning.data.conversations import Conversation, RowReader
from gpt_lightning.data.fit_conversations import (
    FittedConversation,
    FittedPrompt,
    TrainOn,
    fit_conversations,
    fit_prompts,
)
from gpt_lightning.data.generated import generation_length
from gpt_lightning.data.labeled import Labeled, NoValidRowError
from gpt_lightning.data.length_batching import GeneratedFirstOrder, InMemoryRows, Order, digest, pad
from gpt_lightning.data.settings import RowSettings
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.chat_encoding import ChatTemplate
from gpt_lightning.tokenizers.chat_tokenizer import chat_tokenizer
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from gpt_lightning.unpack import Unpack

_MAX_TIME: Final = calendar.timegm((9999, 1, 1, 0, 0, 0))
Prompts = dict[str, tuple[NDArray[np.int64], tuple[str, ...]]]
"""Id of a row -> its prompt, and the correct answers to it."""


class InstructionTuning(Labeled[Conversation]):
    """Conversations for instruction tuning, in the format of a chat template.

    A row has a column ``messages``, or ``prompt`` and ``completion``, or ``instruction``, ``input`` and ``output``.
    With ``template`` and ``target``, the prompt and the answer are made from any columns. An answer may be a list of
    correct answers: training uses the first, evaluation compares with all of them.

    Conversations longer than ``block_size`` lose turns at their start. Special tokens in the texts of rows are ordinary
    text.

    Args:
        messages_column: column with the messages of a conversation, each with ``role`` (system, user, assistant or
            tool) and ``content``. Answers with ``"train": false`` are not trained. Messages after the last answer are
            ignored.
        template: prompt with the names of columns in braces, such as ``Translate to French: {en}``.
        target: column with the answer to the prompt of ``template``.
        chat_template: ``chatml``, ``plain`` (the texts alone, each prompt with a line end and each answer with the
            end-of-text token), or a ``.jinja`` file. null takes the template of the tokenizer, or else ``chatml``.
            Special tokens that the tokenizer lacks are added to it and to the model.
        train_on: ``assistant`` trains all answers, ``last`` the last one of each conversation, ``all`` all text.
        packing: put several conversations into each training row, up to ``block_size``. Attention and positions keep
            them apart, so the loss is the same. It saves padding if lengths differ much.
        generate_examples: conversations of each evaluation for whose last answer the model generates a text, which
            is compared with the row's. They are spread over the rows. 0 generates none.
        max_new_tokens: maximum length of a generated answer in tokens. null takes half of ``block_size``, at most 128.
    """

    batch: ClassVar[type] = LanguageModelingBatch
    is_default: ClassVar[bool] = False
    new_in_each_run: ClassVar[frozenset[str]] = Labeled.new_in_each_run | {"chat_template"}
    hold_out_attribute: ClassVar[str] = "prompt"

    def __init__(
        self,
        messages_column: str = "messages",
        template: str | None = None,
        target: str | None = None,
        chat_template: str | None = None,
        train_on: TrainOn = "assistant",
        packing: bool = False,
        generate_examples: int = 50,
        max_new_tokens: int | None = None,
        **settings: Unpack[RowSettings],
    ) -> None:
        super().__init__(**settings)
        self.messages_column, self.template, self.target = messages_column, template, target
        RowReader(self.id_column, messages_column, template, target, has_answers=True)  # refuses invalid arguments
        self.chat_template = chat_template
        self.train_on: TrainOn = train_on
        self.packing = packing
        self.generate_examples, self.max_new_tokens = generation_length(
            generate_examples, max_new_tokens, self.block_size
        )

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, with the chat template and its special tokens."""
        return chat_tokenizer(super().tokenizer, self.chat_template)

    @cached_property
    def _now(self) -> int:
        """Time that the chat template reads as the current one, in seconds since 1970.

        It is that of ``DATE_VARIABLE``, or the start of today, so that all rows of a run have the same date.

        Raises:
            InputError: the environment variable is not a number, or far too large.
        """
        given = os.environ.get(DATE_VARIABLE) or str(calendar.timegm(date.today().timetuple()))
        if not (given.isascii() and given.isdigit() and int(given) < _MAX_TIME):
            raise InputError(f"the environment variable {DATE_VARIABLE}={given} must be a number of seconds since 1970")
        return int(given)

    def identity(self) -> dict[str, str | int]:
        """Return the identity of the rows, with the date if the chat template contains it."""
        found = super().identity()
        has_date = bool(found) and "strftime_now" in (self.tokenizer.config.chat_template or "")
        return found | ({DATE: self._now} if has_date else {})

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids of the tokens that end a generated answer."""
        return tuple(sorted(self.tokenizer.end_ids))

    @property
    def layout(self) -> InputLayout:
        """Default layout: the chat template determines the input."""
        return InputLayout()

    def content(self, example: Conversation) -> object:
        """Return the texts of all messages with their roles."""
        return tuple((message["role"], message["content"]) for message in example.messages)

    def training_texts(self) -> Iterator[str]:
        """Yield the texts of all messages."""
        return (message["content"] for example in self.examples("train") for message in example.messages)

    def parse_rows(self, rows: Iterator[Row], split: Split, has_labels: bool) -> Iterator[Conversation | InputError]:
        """Yield the conversation of each row; without ``has_labels``, it may have no answer."""
        reader = RowReader(self.id_column, self.messages_column, self.template, self.target, has_answers=has_labels)
        return reader.read(rows)

    def open_split(self, split: Split) -> InMemoryRows:
        """Return the encoded conversations of a split. For training with ``packing``, a row holds several."""
        template = ChatTemplate(self.tokenizer, self._now)
        conversations = self.examples(split)
        if self.stage == "predict":
            return self._prompts_only(split, template, conversations)
        fitted = fit_conversations(template, conversations, self.train_on, self.block_size + 1)
        found = self.keep_encodable(split, fitted, len(conversations))
        if not found:
            raise NoValidRowError(split, "no row has a label; fix the file, or choose a different one")
        self.cut_rows[split] = [
            CutRow(each.where, len(each.ids) + each.num_cut, each.num_cut) for each in found if each.num_cut
        ]
        self._report_size(split, found)
        is_training = split == "train"
        lengths = [len(each.ids) - 1 for each in found]
        is_packed = self.packing and is_training
        rows = best_fit(lengths, self.block_size) if is_packed else [[number] for number in range(len(found))]
        totals = [sum(lengths[number] for number in row) for row in rows]
        order: Order = self.epoch_order(split, totals)
        prompts: Prompts = {}
        if not is_training:
            order = GeneratedFirstOrder(order, self.generate_examples)
            prompts = self._prompts(split, template, conversations, [found[number] for number in order.generated])
        collate = _Collate(self.tokenizer, found, rows, prompts, is_packed=is_packed, is_training=is_training)
        arrays = (array for row in rows for number in row for array in (found[number].ids, found[number].is_trained))
        ids = [[found[number].id for number in row] for row in rows]
        return InMemoryRows(len(rows), order, collate, digest([*arrays, np.array(totals)]), ids)

    def _prompts(
        self,
        split: Split,
        template: ChatTemplate,
        conversations: Sequence[Conversation],
        found: Sequence[FittedConversation],
    ) -> Prompts:
        """Return the prompts and the correct answers of ``found`` by row id."""
        by_id = {conversation.id: conversation for conversation in conversations}
        chosen = [by_id[each.id] for each in found]
        prompts = fit_prompts(template, chosen, self.block_size - self.max_new_tokens)
        prepared: Prompts = {}
        for each, prompt in zip(chosen, prompts, strict=True):
            if isinstance(prompt, InputError):
                raise prompt
            prepared[each.id] = (prompt.ids, each.references)
        self._report_cut_prompts(split, prompts)
        return prepared

    def _report_cut_prompts(self, split: Split, prompts: Sequence[FittedPrompt | InputError]) -> None:
        """Print how many prompts lose tokens, because the context must also hold the answer."""
        if num_cut := sum(isinstance(prompt, FittedPrompt) and prompt.num_cut > 0 for prompt in prompts):
            room = self.block_size - self.max_new_tokens
            self.report(
                split,
                f"{num_cut:,} of {len(prompts):,} prompts lost their first turns or tokens, because generating "
                f"{self.max_new_tokens} tokens leaves {room} of {self.block_size} for the prompt; raise "
                "--model.backbone.block_size, or lower --data.max_new_tokens",
            )

    def _prompts_only(
        self, split: Split, template: ChatTemplate, conversations: Sequence[Conversation]
    ) -> InMemoryRows:
        """Return the prompts of a split for ``predict``, without labels."""
        prompts = fit_prompts(template, conversations, self.block_size - self.max_new_tokens)
        fitted = (
            prompt
            if isinstance(prompt, InputError)
            else FittedConversation(each.id, each.where, prompt.ids, np.zeros(len(prompt.ids), dtype=np.bool_), 0, 0)
            for each, prompt in zip(conversations, prompts, strict=True)
        )
        rows = self.keep_encodable(split, fitted, len(conversations))
        self._report_cut_prompts(split, prompts)
        if not rows:
            raise NoValidRowError(split, "no row is valid; fix the file, or choose a different one")
        references = {each.id: each.references for each in conversations}
        answers = {each.id: (each.ids, references[each.id]) for each in rows}
        units = [[number] for number in range(len(rows))]
        collate = _Collate(self.tokenizer, rows, units, answers, is_packed=False, is_training=False)
        found = [each.ids for each in rows]
        return InMemoryRows(len(rows), self.epoch_order(split, list(map(len, found))), collate, digest(found))

    def _report_size(self, split: Split, found: Sequence[FittedConversation]) -> None:
        """Print how many rows and tokens of a split are trained, cut and dropped."""
        total = sum(len(each.ids) for each in found)
        trained = sum(int(each.is_trained[1:].sum()) for each in found)
        self.report(
            split,
            f"{len(found):,} rows, {sum(each.num_turns for each in found):,} turns, {trained:,} trained tokens "
            f"({trained / total:.1%} of {total:,}), {len(self.cut_rows[split]):,} rows cut, "
            f"{self.num_dropped(split):,} rows dropped",
        )


class _Collate:
    """Function that returns the batch for some row indices and a number of padding rows.

    Args:
        tokenizer: the tokenizer.
        conversations: all conversations.
        rows: indices of the conversations in each row.
        prompts: prompt and correct answers by row id, for rows whose answer is generated.
        is_packed: whether rows hold several conversations.
        is_training: whether batches are for training, without prompts.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        conversations: Sequence[FittedConversation],
        rows: Sequence[Sequence[int]],
        prompts: Prompts,
        *,
        is_packed: bool,
        is_training: bool,
    ) -> None:
        self.padding_id = tokenizer.end_of_text_id
        self.token_bytes = tokenizer.token_bytes
        self.conversations, self.rows, self.prompts = conversations, rows, prompts
        self.is_packed, self.is_training = is_packed, is_training

    def __call__(self, rows: list[int], num_padding: int) -> LanguageModelingBatch:
        chosen = [[self.conversations[number] for number in self.rows[row]] for row in rows]
        empty = FittedConversation("", "", np.full(2, self.padding_id), np.zeros(2, dtype=np.bool_), 0, 0)
        filled = [*chosen, *([[empty]] * num_padding)]
        labels = pad([np.concatenate([_labels(each) for each in row]) for row in filled], IGNORE_INDEX)
        is_label = labels != IGNORE_INDEX
        batch = LanguageModelingBatch(
            input_ids=pad([np.concatenate([each.ids[:-1] for each in row]) for row in filled], self.padding_id),
            labels=labels,
            num_bytes=torch.from_numpy(self.token_bytes)[labels.where(is_label, 0)].where(is_label, 0).sum(1),
            ids=[", ".join(each.id for each in row) for row in chosen],
            prefix_mask=pad([np.concatenate([_prefix(each) for each in row]) for row in filled], False),
        )
        if self.is_packed:
            numbers = [np.repeat(np.arange(len(row)), [len(each.ids) - 1 for each in row]) for row in filled]
            batch["document_ids"] = pad(numbers, max(map(len, filled)))
        if not self.is_training:
            compared = [self.prompts[each.id] for row in chosen for each in row if each.id in self.prompts]
            batch["prompts"] = [prompt.tolist() for prompt, _ in compared]
            batch["references"] = [list(references) for _, references in compared]
        return batch


def _labels(conversation: FittedConversation) -> NDArray[np.int64]:
    """Return the label of each input token: the next token if it is trained."""
    return np.where(conversation.is_trained[1:], conversation.ids[1:], IGNORE_INDEX)


def _prefix(conversation: FittedConversation) -> NDArray[np.bool_]:
    """Return True for the input tokens before the first trained token."""
    is_prefix: NDArray[np.bool_] = np.cumsum(conversation.is_trained[:-1]) == 0
    return is_prefix
