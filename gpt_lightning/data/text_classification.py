"""Labelled texts, from files or the hub to batches."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from gpt_lightning.batch import IGNORE_INDEX, SequenceClassificationBatch
from gpt_lightning.data.base import DataModule, Split
from gpt_lightning.data.labelled import Labelled, OnBadRow
from gpt_lightning.data.labels import is_number, label_name, read_labels
from gpt_lightning.data.length_batching import InMemory, digest, mask, pad
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.row_formats import shown
from gpt_lightning.data.sources.source import filled_text, row_id, row_value
from gpt_lightning.errors import InputError


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text with its labels: one or, where texts may have several, any number."""

    id: str
    text: str
    labels: tuple[str, ...]
    where: str


class TextClassification(Labelled[LabelledText]):
    """Texts with a label each, or with several.

    Args:
        train: source of the training rows (a file, a folder, a glob, ``hub:NAME[:CONFIG][@SPLIT]``, or a list).
        validation: source of the rows that are judged during training.
        test: source of the rows that are judged at the end, or predicted (then without labels, if need be).
        text_column: the column that holds the text.
        label_column: the column that holds the label, a string or a number; with ``multi_label`` a list of them, or a
            string with ``|`` between them.
        id_column: the column that names each row; where it is absent, rows are numbered from 0.
        labels: the names of the labels in the order of their numbers: a list, or a file with one a line; None takes
            those of the training rows, sorted.
        multi_label: a text may have several labels, or none; follows the model's.
        on_bad_row: ``stop`` at a row that cannot be used, or ``skip`` it and print how many were for which reason.
        tokenizer: ``characters``, ``bytes``, ``bpe:SIZE`` (the first and the last are made from the training text), a
            ``tokenizer.json``, a folder with one or with GPT-2's vocabulary files, or ``hub:NAME``.
        block_size: the longest text in tokens, longer ones are cut; follows the model's.
        batch_size: texts of a batch on each device.
        num_workers: processes that prepare batches ahead.
        seed: decides the order; None takes ``seed_everything``.
        cache_dir: where trained tokenizers are kept.
    """

    batch: ClassVar[type] = SequenceClassificationBatch
    takes_from_model: ClassVar[Mapping[str, str]] = {**DataModule.takes_from_model, "multi_label": "multi_label"}

    def __init__(
        self,
        train: str | list[str] | None = None,
        validation: str | list[str] | None = None,
        test: str | list[str] | None = None,
        text_column: str = "text",
        label_column: str = "label",
        id_column: str = "id",
        labels: str | list[str] | None = None,
        multi_label: bool = False,
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
        self.text_column = text_column
        self.label_column = label_column
        self.id_column = id_column
        self.given_labels = labels
        self.multi_label = multi_label

    @cached_property
    def labels(self) -> list[str]:
        """The labels' names, in the order of their numbers."""
        if self.given_labels is not None:
            return list(read_labels(self.given_labels))
        names = {label for example in self.examples("train") for label in example.labels}
        return sorted(names, key=lambda name: (0, int(name), name) if is_number(name) else (1, 0, name))

    def _training_texts(self) -> Iterator[str]:
        return (example.text for example in self.examples("train"))

    def _text_columns(self) -> str:
        return f"{self.text_column} {self.label_column} {self.given_labels} {self.on_bad_row}"

    def _parse(self, rows: Iterator[Row], split: Split, labelled: bool) -> Iterator[LabelledText | InputError]:
        names = None if not labelled or (split == "train" and self.given_labels is None) else self.labels
        for number, row in enumerate(rows):
            try:
                text = filled_text(row, self.text_column)
                labels = self._row_labels(row, names) if labelled else ()
                yield LabelledText(row_id(row, self.id_column, number), text, labels, row.where)
            except InputError as error:
                yield error

    def _row_labels(self, row: Row, names: list[str] | None) -> tuple[str, ...]:
        value = row_value(row, self.label_column, "--data.label_column")
        if not self.multi_label:
            values = [value]
        elif isinstance(value, str):
            values = value.split("|") if value else []
        elif isinstance(value, list):
            values = value
        else:
            raise InputError(
                f"{row.where}: {self.label_column!r} is {shown(value)}, not a list of labels; mend this row"
            )
        return tuple(label_name(each, names, row.where, self.label_column) for each in values)

    def _open(self, split: Split) -> InMemory:
        examples = self.examples(split)
        ids = {name: number for number, name in enumerate(self.labels)}
        targets = np.stack([self._target(example, ids) for example in examples])
        room = self.block_size - 1
        encoded = self.tokenizer.encode_batch([example.text for example in examples])
        tokens = [np.concatenate(([self.tokenizer.end_of_text_id], text[:room])) for text in encoded]
        too_long = [len(text) for text in encoded if len(text) > room]
        if too_long:
            self._report(
                split,
                f"{len(too_long):,} of {len(examples):,} texts were cut to {room} tokens, the longest has "
                f"{max(too_long):,}; raise --model.backbone.block_size to see all of them",
            )
        training = split == "train"

        def collate(rows: list[int], num_padding: int) -> SequenceClassificationBatch:
            padding = [np.array([self.tokenizer.end_of_text_id])] * num_padding
            chosen = [tokens[row] for row in rows] + padding
            labels = np.full((len(chosen), *targets.shape[1:]), IGNORE_INDEX)
            labels[: len(rows)] = targets[rows]
            batch = SequenceClassificationBatch(
                input_ids=pad(chosen, self.tokenizer.end_of_text_id),
                attention_mask=mask([len(row) for row in chosen]),
                labels=torch.from_numpy(labels),
                ids=[examples[row].id for row in rows],
            )
            if not training:
                batch["texts"] = [examples[row].text for row in rows]
            return batch

        order = self._order(split, [len(row) for row in tokens])
        return InMemory(len(examples), order, collate, digest([*tokens, targets]))

    def _target(self, example: LabelledText, ids: dict[str, int]) -> NDArray[np.int64]:
        """() the label's number, or (L,) 0 and 1."""
        if self._function == "predict":
            return np.full(len(ids) if self.multi_label else (), IGNORE_INDEX)
        if not self.multi_label:
            return np.array(ids[example.labels[0]])
        target = np.zeros(len(ids), dtype=np.int64)
        target[[ids[label] for label in example.labels]] = 1
        return target
