"""A data module for pairs of texts with one label per pair."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from gpt_lightning.batch import IGNORE_INDEX, SequenceClassificationBatch
from gpt_lightning.data.base import Split
from gpt_lightning.data.labeled import Labeled
from gpt_lightning.data.labels import label_name, read_labels
from gpt_lightning.data.length_batching import InMemoryRows, digest, mask, pad
from gpt_lightning.data.settings import LabeledSettings
from gpt_lightning.data.sources.source import Row, filled_text, row_id, row_value
from gpt_lightning.errors import InputError
from gpt_lightning.unpack import Unpack


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts, joined by a line end, and their label."""

    id: str
    text: str
    label: str
    where: str


class TextPairs(Labeled[Pair]):
    """Pairs of texts with one label per pair, such as natural language inference.

    Args:
        first_column: column with the first text.
        second_column: column with the second text.
        label_column: column with the label.
        labels: label names in the order of their numbers, such as those of a checkpoint; None takes the sorted labels
            of the training rows.
    """

    batch: ClassVar[type] = SequenceClassificationBatch

    def __init__(
        self,
        first_column: str = "premise",
        second_column: str = "hypothesis",
        label_column: str = "label",
        labels: str | list[str] | None = None,
        **settings: Unpack[LabeledSettings],
    ) -> None:
        super().__init__(**settings)
        self.first_column = first_column
        self.second_column = second_column
        self.label_column = label_column
        self.given_labels = labels

    @cached_property
    def labels(self) -> list[str]:
        """The label names in the order of their numbers; the task takes them from here."""
        if self.given_labels is not None:
            return list(read_labels(self.given_labels))
        return sorted({pair.label for pair in self.examples("train")})

    def training_texts(self) -> Iterator[str]:
        """Yield the training texts."""
        return (pair.text for pair in self.examples("train"))

    def parse_rows(self, rows: Iterator[Row], split: Split, has_labels: bool) -> Iterator[Pair | InputError]:
        """Yield the pair of each row."""
        names = None if split == "train" and self.given_labels is None else self.labels
        for number, row in enumerate(rows):
            try:
                text = filled_text(row, self.first_column) + "\n" + filled_text(row, self.second_column)
                label = self._label(row, names) if has_labels else ""
                yield Pair(row_id(row, self.id_column, number), text, label, row.where)
            except InputError as error:
                yield error

    def _label(self, row: Row, names: list[str] | None) -> str:
        """Return the label of a row; None for ``names`` accepts every label."""
        value = row_value(row, self.label_column, "--data.label_column")
        return label_name(value, names, row.where, self.label_column)

    def open_split(self, split: Split) -> InMemoryRows:
        """Return the tokenized pairs of a split."""
        pairs = self.examples(split)
        end_of_text = self.tokenizer.end_of_text_id
        texts = self.tokenizer.encode_batch([pair.text for pair in pairs])
        tokens = [self.layout.input_ids([text], self.block_size) for text in texts]
        is_labeled = self.stage != "predict"
        targets = np.array([self.labels.index(pair.label) if is_labeled else IGNORE_INDEX for pair in pairs])

        def collate(rows: list[int], num_padding: int) -> SequenceClassificationBatch:
            batch_tokens = [tokens[row] for row in rows] + [np.array([end_of_text])] * num_padding
            return SequenceClassificationBatch(
                input_ids=pad(batch_tokens, end_of_text),
                attention_mask=mask([len(row) for row in batch_tokens]),
                labels=torch.tensor([*targets[rows].tolist(), *[IGNORE_INDEX] * num_padding]),
                ids=[pairs[row].id for row in rows],
                texts=[pairs[row].text for row in rows],
            )

        order = self.epoch_order(split, [len(row) for row in tokens])
        return InMemoryRows(len(pairs), order, collate, digest([*tokens, targets]))
