"""Data module for single-label and multi-label text classification."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from gpt_lightning.batch import IGNORE_INDEX, SequenceClassificationBatch
from gpt_lightning.data.base import CutRow, Split
from gpt_lightning.data.labeled import Labeled
from gpt_lightning.data.labels import (
    LabelReader,
    SavedLabels,
    canonical,
    label_reader,
    read_labels,
    read_list,
    sort_labels,
)
from gpt_lightning.data.length_batching import InMemoryRows, digest, mask, pad
from gpt_lightning.data.settings import LabeledSettings
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.row_formats import join_names, short_repr
from gpt_lightning.data.sources.source import filled_text, row_id, row_value
from gpt_lightning.data.word_swaps.swaps import Swap
from gpt_lightning.errors import InputError
from gpt_lightning.unpack import Unpack


@dataclass(frozen=True, slots=True)
class LabeledText:
    """Text or pair of texts with its labels: one or, in multi-label classification, any number."""

    id: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    where: str

    @property
    def text(self) -> str:
        """The texts as one, for messages and to hold out rows."""
        return "\n".join(self.texts)


class TextClassification(Labeled[LabeledText]):
    """Texts or pairs of texts with one label each or, with ``multi_label``, any number of labels.

    Args:
        text_column: column with the text. Texts longer than ``block_size`` are truncated.
        text_columns: two columns with a pair of texts, such as ``[premise, hypothesis]``, in place of ``text_column``.
            Of pairs longer than ``block_size``, the longer text is truncated first.
        label_column: column with the label, a string or a number; with ``multi_label``, a list of labels, a string of
            labels separated by ``|``, or a list with 0 or 1 for each of ``labels``.
        label_columns: columns with 0 or 1, one for each label, in place of ``label_column``.
        labels: label names in the order of their numbers: a list, or a file with a JSON list or one name per line. By
            default, the sorted labels of the training rows. Set it if the rows contain numbers instead of names.
        model_labels: labels of the checkpoint, as JSON. ``test``, ``predict`` and resumed runs set it.
        multi_label: whether a text may have several labels or none. It follows the model's (``model.multi_label``): set
            it there.
    """

    batch: ClassVar[type] = SequenceClassificationBatch
    hold_out_attribute: ClassVar[str] = "text"
    new_in_each_run: ClassVar[frozenset[str]] = Labeled.new_in_each_run | {"labels", "model_labels"}
    ignored: ClassVar[float] = IGNORE_INDEX
    """Target of rows without a label and of padding rows."""
    takes_from_model: ClassVar[Mapping[str, str]] = {**Labeled.takes_from_model, "multi_label": "multi_label"}

    def __init__(
        self,
        text_column: str = "text",
        text_columns: list[str] | None = None,
        label_column: str = "label",
        label_columns: list[str] | None = None,
        labels: str | list[str] | None = None,
        model_labels: str | None = None,
        multi_label: bool = False,
        **settings: Unpack[LabeledSettings],
    ) -> None:
        super().__init__(**settings)
        if text_columns is not None and (len(text_columns) != 2 or len(set(text_columns)) < 2):
            raise InputError(
                f"--data.text_columns={text_columns} must be two columns, such as [premise, hypothesis]. "
                "For one column use --data.text_column"
            )
        self.text_columns = [text_column] if text_columns is None else text_columns
        self.label_column = label_column
        if label_columns is not None and labels is not None:
            raise InputError("--data.labels and --data.label_columns both name the labels. Leave out one of them")
        self.label_columns = label_columns
        self.given_labels = label_columns if labels is None else labels
        self.saved_labels = None if model_labels is None else SavedLabels.from_json(model_labels)
        self.multi_label = multi_label

    @cached_property
    def labels(self) -> list[str]:
        """Label names in the order of their numbers."""
        if self.saved_labels is not None:
            return self.saved_labels.names
        if self.given_labels is not None:
            return list(read_labels(self.given_labels))
        examples = self.source_examples("train")
        names = {label for example in examples for label in example.labels}
        if names <= {"0", "1"} and (pair := next((each for each in examples if len(each.labels) > 1), None)):
            raise InputError(
                f"{pair.where}: every list has only 0 and 1, as if they were yes and no for each label. Name the "
                "labels in order with --data.labels=[a,b,c]"
            )
        return sort_labels(names)

    def training_texts(self) -> Iterator[str]:
        """Yield the training texts."""
        return (text for example in self.examples("train") for text in example.texts)

    def label_counts(self) -> tuple[Counter[str], int]:
        """Return how many training rows have each label, and the number of training rows."""
        examples = self.examples("train")
        return Counter(label for example in examples for label in example.labels), len(examples)

    def parse_rows(self, rows: Iterator[Row], split: Split, has_labels: bool) -> Iterator[LabeledText | InputError]:
        """Yield the text of each row and, with ``has_labels``, its labels."""
        reader = label_reader(self, collects=not has_labels or split == "train")
        for number, row in enumerate(rows):
            try:
                texts = tuple(filled_text(row, column) for column in self.text_columns)
                labels = self._row_labels(row, reader) if has_labels else ()
                yield LabeledText(row_id(row, self.id_column, number), texts, labels, row.where)
            except InputError as error:
                yield error

    def swapped(self, example: LabeledText, swap: Swap) -> LabeledText:
        """Return a text or pair with swapped words and the same labels."""
        return replace(example, texts=tuple(swap(text).text for text in example.texts))

    def _row_labels(self, row: Row, reader: LabelReader) -> tuple[str, ...]:
        if self.label_columns is not None:
            return self._labels_in_columns(row, self.label_columns, reader)
        value = row_value(row, self.label_column, "--data.label_column")
        if not self.multi_label:
            return (reader.read(value, row.where, self.label_column),)
        values = read_list(value, row.where, self.label_column) if isinstance(value, str) else value
        if not isinstance(values, list):
            raise InputError(
                f"{row.where}: column {self.label_column!r} is {short_repr(value)}, not a list of labels; fix this row"
            )
        return reader.read_set(values, row.where, self.label_column)

    def _labels_in_columns(self, row: Row, columns: list[str], reader: LabelReader) -> tuple[str, ...]:
        """Return the names of the columns that have a 1."""
        names = []
        for column in columns:
            value = row_value(row, column, "--data.label_columns")
            flag = canonical(str(value))
            if flag not in ("0", "1", "false", "true"):
                raise InputError(f"{row.where}: column {column!r} is {short_repr(value)}, not 0 or 1; fix this row")
            if flag in ("1", "true"):
                names.append(reader.read(column, row.where, column))
        if not self.multi_label and len(names) != 1:
            raise InputError(
                f"{row.where}: {len(names)} of the columns {join_names(columns)} are 1, but a text has one label. Fix "
                "this row, or set --model.multi_label=true"
            )
        return tuple(names)

    def open_split(self, split: Split) -> InMemoryRows:
        """Return the tokenized texts or pairs of a split, truncated to ``block_size``."""
        examples = self.examples(split)
        numbers = {name: number for number, name in enumerate(self.labels)}
        targets = np.stack([self._target(example, numbers) for example in examples])
        room = self._room()
        columns = zip(*(example.texts for example in examples), strict=True)
        rows = list(zip(*(self.tokenizer.encode_batch(column) for column in columns), strict=True))
        tokens = [self.layout.input_ids(texts, self.block_size) for texts in rows]
        sizes = [sum(map(len, texts)) for texts in rows]
        self.cut_rows[split] = too_long = [
            CutRow(example.where, size, size - room)
            for example, size in zip(examples, sizes, strict=True)
            if size > room
        ]
        if too_long:
            kind = "texts" if len(self.text_columns) == 1 else "pairs of texts"
            self.report(
                split,
                f"{len(too_long):,} of {len(examples):,} {kind} were truncated to {room} tokens (the longest has "
                f"{max(sizes):,}); raise --model.backbone.block_size to keep all of their tokens",
            )
        is_training = split == "train"

        def collate(rows: list[int], num_padding: int) -> SequenceClassificationBatch:
            padding = [np.array([self.tokenizer.end_of_text_id])] * num_padding
            chosen = [tokens[row] for row in rows] + padding
            labels = np.full((len(chosen), *targets.shape[1:]), self.ignored, dtype=targets.dtype)
            labels[: len(rows)] = targets[rows]
            batch = SequenceClassificationBatch(
                input_ids=pad(chosen, self.tokenizer.end_of_text_id),
                attention_mask=mask([len(row) for row in chosen]),
                labels=torch.from_numpy(labels),
                ids=[examples[row].id for row in rows],
            )
            if not is_training:
                batch["texts"] = [examples[row].text for row in rows]
            return batch

        order = self.epoch_order(split, [len(row) for row in tokens])
        ids = [(example.id,) for example in examples]
        return InMemoryRows(len(examples), order, collate, digest([*tokens, targets]), ids)

    def _room(self) -> int:
        """Return the maximum number of tokens of a text or of both texts of a pair.

        Raises:
            InputError: there is no room.
        """
        num_added = self.layout.num_added(len(self.text_columns))
        if num_added >= self.block_size:
            raise InputError(
                f"block_size={self.block_size} leaves no room for text next to the {num_added} tokens that the model's "
                "input layout adds. Raise --model.backbone.block_size"
            )
        return self.block_size - num_added

    def _target(self, example: LabeledText, ids: dict[str, int]) -> NDArray[Any]:
        """Return the label index, shape (); with ``multi_label``, return a 0/1 vector over the labels, shape (L,)."""
        if self.stage == "predict":
            return np.full(len(ids) if self.multi_label else (), IGNORE_INDEX)
        if not self.multi_label:
            return np.array(ids[example.labels[0]])
        target = np.zeros(len(ids), dtype=np.int64)
        target[[ids[label] for label in example.labels]] = 1
        return target
