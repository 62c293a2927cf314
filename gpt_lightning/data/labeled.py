"""Base class of the data modules whose rows have labels and fit in memory."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import ClassVar, Generic, Protocol, TypeVar

from gpt_lightning.batch import ends_with_token
from gpt_lightning.data.base import DataModule, Split
from gpt_lightning.data.document_split import text_hash, validation_threshold
from gpt_lightning.data.hold_out import hold_out
from gpt_lightning.data.length_batching import (
    InMemoryRows,
    LengthGroupedOrder,
    LongestFirstOrder,
    Order,
    SequentialOrder,
)
from gpt_lightning.data.loader import Rows
from gpt_lightning.data.masked_rows import MaskedInMemoryRows, MaskedRows
from gpt_lightning.data.named_rows import (
    KEY,
    Named,
    canonical_location,
    check_found,
    is_empty,
    named_locations,
    named_texts,
)
from gpt_lightning.data.settings import DataSettings
from gpt_lightning.data.sources.bad_rows import OnBadRow, cause, skipped_line
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.data.sources.source import Source, read_rows
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.unpack import Unpack


class Example(Protocol):
    """Parsed row."""

    @property
    def id(self) -> str | None:
        """Id of the row, unique in its split."""

    @property
    def where(self) -> str:
        """Location of the row for messages, such as ``path:line``."""


E = TypeVar("E", bound=Example)


class Labeled(DataModule, Generic[E]):
    """Base class of the data modules whose rows have labels and fit in memory.

    A subclass implements ``parse_rows`` and the hooks of ``DataModule``. Its ``open_split`` turns ``examples(split)``
    into ``InMemoryRows`` in the order of ``epoch_order``. Each split is read once.

    If the task has label names, the subclass provides them as ``labels``, a list in the order of their numbers. It also
    takes an argument ``labels``, which ``test`` and ``predict`` set to the labels of the checkpoint.

    Args:
        id_column: column with the id of each row, which predictions repeat; rows without an id are numbered from 0.
        on_bad_row: ``stop`` at the first invalid row, or ``skip`` invalid rows and print their number by cause.
        layout: tokens around the texts. A checkpoint sets it to the layout that it was trained with.
    """

    hold_out_attribute: ClassVar[str] = "id"
    """Attribute of examples; held-out validation never separates examples with equal values."""

    def __init__(
        self,
        id_column: str = "id",
        on_bad_row: OnBadRow = "stop",
        layout: InputLayout = InputLayout(),
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(**settings)
        self.given_layout = layout
        self.id_column = id_column
        self.on_bad_row = on_bad_row
        self._examples: dict[tuple[Split, bool], list[E]] = {}
        self._held_out: set[str] | None = None
        self.num_skipped: Counter[Split] = Counter()
        """Invalid rows in the source of each split."""

    @abstractmethod
    def parse_rows(self, rows: Iterator[Row], split: Split, has_labels: bool) -> Iterator[E | InputError]:
        """Yield the example of each row or, if the row is invalid, an InputError that starts with ``row.where``.

        Args:
            rows: rows of the split in order. One row may become several examples. The fields of a row that cannot be
                read raise an InputError.
            split: the split.
            has_labels: False for ``predict``: then ignore the label column, which may be missing.
        """

    def content(self, example: E) -> object:
        """Return the text of an example, or a tuple of texts, by which ``without`` finds it, whatever its labels."""
        return str(getattr(example, self.hold_out_attribute))

    def mask(self, rows: Rows) -> MaskedRows:
        """Return the training rows with those masked that ``without`` names. Of equal texts, all are masked."""
        assert self.without is not None
        if not isinstance(rows, InMemoryRows):
            return super().mask(rows)
        masked = set() if is_empty(self.without) else self._named_ids(self.without)
        found = MaskedInMemoryRows(rows, masked, self.tokenizer)
        self.report("train", f"{found.num_masked:,} of {len(rows):,} rows are masked (without={self.without})")
        return found

    def _named_ids(self, source: Source) -> set[str]:
        """Return the ids of the training examples that a source names by their locations or their text.

        Raises:
            InputError: a row is not in the training data, or cannot be read.
        """
        named, key = named_locations(source), self._location
        if named is None:
            named, key = named_texts(source) or list(self._rows_of(source)), self.content
        examples = self.source_examples("train")
        keys = {each.key for each in named}
        masked = [each for each in examples if key(each) in keys]
        known = (Named(self.content(each), each.where) for each in examples)
        check_found(named, {key(each) for each in masked}, known)
        return {str(each.id) for each in masked}

    def _location(self, example: E) -> object:
        return canonical_location(example.where)

    def _rows_of(self, source: Source) -> Iterator[Named]:
        """Yield the text of each row of a source, which is read like training rows, but needs no labels."""
        rows = read_rows(source, split="train", key=KEY, options=self.read_options)
        for example in self.parse_rows(rows, "train", has_labels=False):
            if isinstance(example, InputError):
                raise InputError(f"{KEY}: {example}") from example
            yield Named(self.content(example), example.where)

    @cached_property
    def layout(self) -> InputLayout:
        """Tokens around the texts."""
        return self.given_layout.complete(self.tokenizer, ends_with_token=ends_with_token(self.batch))

    def examples(self, split: Split) -> list[E]:
        """Return the valid examples of a split, with labels unless the stage is ``predict``.

        Raises:
            InputError: the source cannot be read, a row is invalid and ``on_bad_row`` is ``stop``, or no row is valid.
        """
        found = self.source_examples(self.source_split(split))
        if split == "test" or not self.holds_out_validation:
            return found
        kind = self.hold_out_attribute
        groups = [str(getattr(example, kind)) for example in found]
        if self._held_out is None:
            self._held_out = self._choose_held_out(groups)
        if not self._held_out:
            option = "validation" if self.validation_part is not None else "validation_fraction"
            raise InputError(
                f"--data.{option}={self.validation_part or self.validation_fraction}: --data.train has only one {kind} "
                f"({short_repr(groups[0])}), so no rows can be held out. Add rows with another {kind}, or set "
                f"{'the fraction to 0' if self.validation_part is None else '--data.validation to a source or null'}"
            )
        is_validation = split == "validation"
        return [
            example for example, group in zip(found, groups, strict=True) if (group in self._held_out) == is_validation
        ]

    def _choose_held_out(self, groups: list[str]) -> set[str]:
        """Return the groups that are held out for validation."""
        if self.validation_part is None:
            return hold_out(groups, self.validation_fraction)
        hashes = {group: text_hash(group) for group in groups}
        threshold = validation_threshold(hashes.values(), self.validation_part)
        held_out = {group for group, value in hashes.items() if value < threshold}
        number = sum(group in held_out for group in groups)
        self.report(
            "validation",
            f"held out {number:,} of the {len(groups):,} training rows (validation={self.validation_part})",
        )
        return held_out

    def source_examples(self, split: Split) -> list[E]:
        """Return the valid examples in the source of a split, held out or not."""
        has_labels = split == "train" or self.stage != "predict"
        if (split, has_labels) not in self._examples:
            self.report_source(split)
            rows = read_rows(self.source(split), split=split, options=self.read_options)
            examples, causes = valid_examples(self.parse_rows(rows, split, has_labels), self.on_bad_row)
            self.num_skipped[split] = causes.total()
            if causes:
                self.report(split, skipped_line(causes, len(examples) + causes.total()))
            if not examples:
                raise InputError(f"--data.{split}: no row is valid; fix the file, or choose a different one")
            self._examples[split, has_labels] = examples
        return self._examples[split, has_labels]

    def epoch_order(self, split: Split, lengths: Sequence[int]) -> Order:
        """Return the order in which a split is read.

        Training rows are shuffled and grouped by length, evaluation rows are sorted by length, and rows for ``predict``
        keep the order of their source.

        Args:
            split: the split.
            lengths: number of tokens of each row.
        """
        trainer = self.running_trainer
        limits = (1.0, 1.0) if trainer is None else (trainer.limit_val_batches, trainer.limit_test_batches)
        # A limited evaluation reads only the first batches, which would not be representative if sorted by length.
        if self.stage == "predict" or (split != "train" and limits != (1.0, 1.0)):
            return SequentialOrder(len(lengths))
        if split != "train":
            return LongestFirstOrder(lengths)
        return LengthGroupedOrder(lengths, self.batch_size * (1 if trainer is None else trainer.world_size), self.seed)


class RepeatedIdError(InputError):
    """Two rows have the same id."""


def with_unique_ids(examples: Iterable[E | InputError]) -> Iterator[E | InputError]:
    """Yield examples and errors, with a ``RepeatedIdError`` in place of each example whose id an earlier one has."""
    locations: dict[str, str] = {}
    for example in examples:
        if isinstance(example, InputError):
            yield example
        elif (first := locations.get(str(example.id))) is not None:
            yield RepeatedIdError(
                f"{example.where}: the id {short_repr(example.id)} is already used by {first}; give each row a unique "
                "id, or choose another column with --data.id_column=COLUMN"
            )
        else:
            locations[str(example.id)] = example.where
            yield example


def valid_examples(examples: Iterable[E | InputError], on_bad_row: OnBadRow) -> tuple[list[E], Counter[str]]:
    """Return the valid examples, and the number of invalid ones by cause.

    Raises:
        InputError: a row is invalid, or two rows have the same id, and ``on_bad_row`` is ``stop``.
    """
    valid: list[E] = []
    causes: Counter[str] = Counter()
    for example in with_unique_ids(examples):
        if not isinstance(example, InputError):
            valid.append(example)
        elif on_bad_row == "stop":
            raise InputError(f"{example} (--data.on_bad_row=skip skips invalid rows)") from example
        else:
            causes[cause(example)] += 1
    return valid, causes
