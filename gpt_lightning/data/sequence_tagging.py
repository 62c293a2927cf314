"""Texts whose words are tagged, from files or the hub to batches."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gpt_lightning.batch import IGNORE_INDEX, TokenClassificationBatch
from gpt_lightning.data.base import DataModule, Split
from gpt_lightning.data.labelled import Labelled, OnBadRow
from gpt_lightning.data.labels import label_name, read_labels
from gpt_lightning.data.length_batching import InMemory, digest, mask, pad
from gpt_lightning.data.overlapping_windows import word_windows
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.row_formats import shown
from gpt_lightning.data.sources.source import filled_text, row_id, row_value
from gpt_lightning.data.tags import check_tags, convert_tags, scheme_of, spans_to_tags, tag_names
from gpt_lightning.data.word_split import split_words
from gpt_lightning.errors import InputError


@dataclass(frozen=True, slots=True)
class TaggedText:
    """A text, where its words are in it, and their tags (none, if they are to be predicted)."""

    id: str
    text: str
    words: tuple[tuple[int, int], ...]
    tags: tuple[str, ...]
    where: str


class _Window(NamedTuple):
    """Some words of a text, as the model sees them: each (T,)."""

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    scored: NDArray[np.bool_]


class SequenceTagging(Labelled[TaggedText]):
    """Words with a tag each: named entities, slots.

    Rows come as words with their tags (JSONL, Parquet, the hub, or CoNLL columns in ``.conll`` files: the word first,
    the tag last, a blank line between texts), or as texts with spans. Words are tokenised one by one and labelled at
    one of their own tokens, so that tags and words cannot come apart.

    Args:
        train: source of the training rows (a file, a folder, a glob, ``hub:NAME[:CONFIG][@SPLIT]``, or a list).
        validation: source of the rows that are judged during training.
        test: source of the rows that are judged at the end, or predicted (then without tags, if need be).
        tokens_column: the column that holds the list of words.
        tags_column: the column that holds the list of their tags.
        text_column: the column that holds the text, where rows have no words.
        spans_column: the column that holds a text's spans, a list of ``{"start", "end", "label"}`` in characters (and
            ``"text"``, which is checked); None reads words and tags.
        id_column: the column that names each row; where it is absent, rows are numbered from 0.
        labels: the names of all tags in the order of their numbers: a list, or a file with one a line; None takes the
            types of the training rows, sorted.
        scheme: how the model marks entities; tags are read in either and turned into this one. Given labels, as those
            of a checkpoint, say it themselves.
        pooling: which token of a word is labelled, its ``first`` or its ``last``; follows the model's.
        stride: texts longer than the model are cut into windows that share at least so many tokens. Each word is
            judged once, in the window that shows most of what surrounds it.
        on_bad_row: ``stop`` at a row that cannot be used, or ``skip`` it and print how many were for which reason.
        tokenizer: ``characters``, ``bytes``, ``bpe:SIZE`` (the first and the last are made from the training text), a
            ``tokenizer.json``, a folder with one or with GPT-2's vocabulary files, or ``hub:NAME``.
        block_size: tokens of the longest window; follows the model's.
        batch_size: texts (in training, windows) of a batch on each device.
        num_workers: processes that prepare batches ahead.
        seed: decides the order; None takes ``seed_everything``.
        cache_dir: where trained tokenizers are kept.
    """

    batch: ClassVar[type] = TokenClassificationBatch
    takes_from_model: ClassVar[Mapping[str, str]] = {**DataModule.takes_from_model, "pooling": "pooling"}

    def __init__(
        self,
        train: str | list[str] | None = None,
        validation: str | list[str] | None = None,
        test: str | list[str] | None = None,
        tokens_column: str = "tokens",
        tags_column: str = "tags",
        text_column: str = "text",
        spans_column: str | None = None,
        id_column: str = "id",
        labels: str | list[str] | None = None,
        scheme: Literal["BIO", "BIOES"] = "BIO",
        pooling: Literal["first", "last"] = "first",
        stride: int = 32,
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
        self.tokens_column = tokens_column
        self.tags_column = tags_column
        self.text_column = text_column
        self.spans_column = spans_column
        self.id_column = id_column
        self.given_labels = labels
        self.scheme = scheme if labels is None else scheme_of(read_labels(labels))
        self.pooling = pooling
        self.stride = stride

    @cached_property
    def labels(self) -> list[str]:
        """The tags, in the order of their numbers."""
        if self.given_labels is not None:
            return list(read_labels(self.given_labels))
        types = {tag[2:] for example in self.examples("train") for tag in example.tags if tag != "O"}
        return tag_names(sorted(types), self.scheme)

    def _training_texts(self) -> Iterator[str]:
        return (example.text for example in self.examples("train"))

    def _text_columns(self) -> str:
        return f"{self.tokens_column} {self.text_column} {self.spans_column} {self.given_labels} {self.on_bad_row}"

    # --- rows

    def _parse(self, rows: Iterator[Row], split: Split, labelled: bool) -> Iterator[TaggedText | InputError]:
        collecting = split == "train" and self.given_labels is None
        names = None if not labelled or collecting else self.labels
        for number, row in enumerate(rows):
            try:
                text, words = self._words(row)
                tags = self._tags(row, text, words, names) if labelled else ()
                yield TaggedText(row_id(row, self.id_column, number), text, words, tags, row.where)
            except InputError as error:
                yield error

    def _words(self, row: Row) -> tuple[str, tuple[tuple[int, int], ...]]:
        if self.spans_column is not None or (self.tokens_column not in row.fields and self.text_column in row.fields):
            text = filled_text(row, self.text_column)
            return text, tuple(split_words(text))
        tokens = row_value(row, self.tokens_column, "--data.tokens_column")
        if not isinstance(tokens, list) or not tokens:
            raise InputError(
                f"{row.where}: {self.tokens_column!r} is {shown(tokens)}, not a list of words; mend this row"
            )
        words, start = [], 0
        for number, token in enumerate(tokens):
            if not isinstance(token, str) or not token or token.isspace():
                raise InputError(f"{row.where}: word {number} is {shown(token)}, not a word; mend or remove this row")
            words.append((start, start + len(token)))
            start += len(token) + 1
        return " ".join(tokens), tuple(words)

    def _tags(
        self, row: Row, text: str, words: tuple[tuple[int, int], ...], names: list[str] | None
    ) -> tuple[str, ...]:
        if self.spans_column is not None:
            spans = row_value(row, self.spans_column, "--data.spans_column")
            if not isinstance(spans, list):
                raise InputError(f"{row.where}: {self.spans_column!r} is {shown(spans)}, not a list of spans; mend it")
            tags = spans_to_tags([_span(span, text, row.where) for span in spans], words, self.scheme, row.where)
        else:
            values = row_value(row, self.tags_column, "--data.tags_column")
            if not isinstance(values, list) or len(values) != len(words):
                found = f"{len(values)} tags" if isinstance(values, list) else shown(values)
                raise InputError(f"{row.where}: {len(words)} words, but {found}; each word needs one tag")
            if any(isinstance(value, int) for value in values):
                values = [self._numbered(value, row.where) for value in values]
            check_tags(values, row.where)
            tags = convert_tags(values, self.scheme)
        return tuple(label_name(tag, names, row.where, self.tags_column) for tag in tags)

    def _numbered(self, value: Any, where: str) -> str:
        """The tag that a number stands for."""
        if self.given_labels is None:
            raise InputError(f"{where}: tags are numbers; name them in their order with --data.labels=[O,B-PER,...]")
        return label_name(value, self.labels, where, self.tags_column)

    # --- batches

    def _open(self, split: Split) -> InMemory:
        examples = self.examples(split)
        encoded = self._windows(examples)
        training = split == "train"
        # While training every window is a row of its own; when judging all windows of a text stay together.
        units = (
            [[(number, window)] for number, windows in enumerate(encoded) for window in windows]
            if training
            else [[(number, window) for window in windows] for number, windows in enumerate(encoded)]
        )
        end_of_text = self.tokenizer.end_of_text_id
        nothing = _Window(np.array([end_of_text]), np.array([IGNORE_INDEX]), np.array([False]))

        def collate(rows: list[int], num_padding: int) -> TokenClassificationBatch:
            windows = [(place, *each) for place, row in enumerate(rows) for each in units[row]]
            shown = [window for _, _, window in windows] + [nothing] * num_padding
            batch = TokenClassificationBatch(
                input_ids=pad([window.input_ids for window in shown], end_of_text),
                attention_mask=mask([len(window.input_ids) for window in shown]),
                labels=pad([window.labels for window in shown], IGNORE_INDEX),
                scored=pad([window.scored for window in shown], False),
                examples=torch.tensor([place for place, _, _ in windows] + [-1] * num_padding),
                ids=[examples[units[row][0][0]].id for row in rows],
            )
            if not training:
                chosen = [examples[row] for row in rows]
                batch["texts"] = [example.text for example in chosen]
                batch["words"] = [list(example.words) for example in chosen]
            return batch

        lengths = [sum(len(window.input_ids) for _, window in unit) for unit in units]
        seen = (array for unit in units for _, window in unit for array in (window.input_ids, window.labels))
        return InMemory(len(units), self._order(split, lengths), collate, digest(seen))

    def _windows(self, examples: list[TaggedText]) -> list[list[_Window]]:
        """The windows of each text."""
        room = self.block_size - 1  # a text begins with the end of the one before, as in pretraining
        ids = {name: number for number, name in enumerate(self.labels)}
        # Each word with the blanks before it: together they are the whole text.
        pieces = iter(
            self.tokenizer.encode_batch(
                [
                    example.text[before:end]
                    for example in examples
                    for before, (_, end) in zip([0, *(end for _, end in example.words)], example.words, strict=False)
                ]
            )
        )
        windows = []
        for example in examples:
            # A word that the tokenizer does not see at all still needs a place for its tag.
            mine = [next(pieces)[:room] for _ in example.words]
            mine = [piece if len(piece) else np.array([self.tokenizer.end_of_text_id]) for piece in mine]
            labels = np.array([ids[tag] for tag in example.tags] or [IGNORE_INDEX] * len(mine))
            windows.append(self._cut(mine, labels, room))
        return windows

    def _cut(self, pieces: list[NDArray[np.int64]], labels: NDArray[np.int64], room: int) -> list[_Window]:
        lengths = [len(piece) for piece in pieces]
        stride = self.stride if sum(lengths) > room else 0
        result = []
        for window in word_windows(lengths, room, stride):
            inside = slice(window.first_word, window.stop_word)
            tokens = np.concatenate(([self.tokenizer.end_of_text_id], *pieces[inside]))
            ends = np.cumsum([0, *lengths[inside]])
            places = ends[1:] if self.pooling == "last" else 1 + ends[:-1]
            places = places[window.first_scored - window.first_word : window.stop_scored - window.first_word]
            targets = np.full(len(tokens), IGNORE_INDEX)
            targets[places] = labels[window.first_scored : window.stop_scored]
            scored = np.zeros(len(tokens), dtype=np.bool_)
            scored[places] = True
            result.append(_Window(tokens, targets, scored))
        return result


def _span(span: Any, text: str, where: str) -> tuple[int, int, str]:
    """A span that was given as a mapping, checked against the text."""
    if not isinstance(span, dict) or not {"start", "end", "label"} <= set(span):
        raise InputError(
            f"{where}: the span {shown(span)} is not like {{'start': 0, 'end': 5, 'label': 'PER'}}; mend it"
        )
    start, end, label = span["start"], span["end"], span["label"]
    if not isinstance(start, int) or not isinstance(end, int):
        raise InputError(f"{where}: the span {shown(span)} does not start and end at numbers; mend it")
    if not 0 <= start < end <= len(text):
        raise InputError(f"{where}: the span {start}-{end} lies outside the text of {len(text)} characters; mend it")
    if not isinstance(label, str) or not label:
        raise InputError(f"{where}: the span {start}-{end} has the label {shown(label)}, which is none; mend it")
    if span.get("text") not in (None, text[start:end]):
        raise InputError(
            f"{where}: the span {start}-{end} is {shown(text[start:end])} in the text, "
            f"but {shown(span['text'])} in the row"
        )
    return start, end, label
