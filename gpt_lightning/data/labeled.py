"""Base class of the data modules whose rows have labels and fit in memory."""

import itertools
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
from gpt_lightning.data.word_swaps.load import load_swaps
from gpt_lightning.data.word_swaps.swaps import Swap, SwappedText, Swaps
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
R = TypeVar("R", bound=Example)


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
        counterfactual_swaps: train on each row also with the words of two groups swapped, such as she and he:
            ``gender``, ``race_names``, or a YAML or JSON file with ``groups`` and ``pairs``. Labels stay the same.
    """

    hold_out_attribute: ClassVar[str] = "id"
    """Attribute of examples; held-out validation never separates examples with equal values."""
    supports_copies: ClassVar[bool] = False
    """True if the class follows ``layout.copies``."""

    def __init__(
        self,
        id_column: str = "id",
        on_bad_row: OnBadRow = "stop",
        layout: InputLayout = InputLayout(),
        counterfactual_swaps: str | None = None,
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(**settings)
        if not self.supports_copies:
            layout.check_read_once(type(self).__name__, "Leave out --data.layout.copies, or set it to 1")
        self.given_layout = layout
        self.id_column = id_column
        self.on_bad_row = on_bad_row
        self._examples: dict[tuple[Split, bool], list[E]] = {}
        self._max_predicted_rows: int | None = None
        self._held_out: set[str] | None = None
        if counterfactual_swaps is not None:
            self.check_swappable("--data.counterfactual_swaps")
        self.counterfactual_swaps = counterfactual_swaps
        self._with_twins: list[E] | None = None
        self.invalid_rows: dict[Split, list[InputError]] = {}
        """Error of each invalid row in the source of a split."""
        self.unfit_rows: dict[Split, list[InputError]] = {}
        """Error of each valid row of an open split that cannot be encoded for the model."""

    @abstractmethod
    def parse_rows(self, rows: Iterator[Row], split: Split, has_labels: bool) -> Iterator[E | InputError]:
        """Yield the example of each row or, if the row is invalid, an InputError that starts with ``row.where``.

        Args:
            rows: rows of the split in order. One row may become several examples. The fields of a row that cannot be
                read raise an InputError.
            split: the split.
            has_labels: False for ``predict``: then ignore the label column, which may be missing.
        """

    def swapped(self, example: E, swap: Swap) -> E:
        """Return an example with ``swap`` applied to each of its texts; labels keep their places.

        Implement it in a subclass to allow ``counterfactual_swaps``.
        """
        raise NotImplementedError

    def check_swappable(self, option: str) -> None:
        """Refuse an option that swaps words if this class cannot swap them.

        Raises:
            InputError: the class does not implement ``swapped``.
        """
        if type(self).swapped is Labeled.swapped:
            raise InputError(
                f"{option}: {type(self).__name__} cannot swap words. Leave it out, or implement `swapped` in your class"
            )

    def content(self, example: E) -> object:
        """Return the text of an example, or a tuple of texts, by which ``without`` finds it, whatever its labels."""
        return str(getattr(example, self.hold_out_attribute))

    def mask(self, rows: Rows) -> MaskedRows:
        """Return the training rows with those masked that ``without`` names. Of equal texts, all are masked."""
        assert self.without is not None
        if not isinstance(rows, InMemoryRows):
            return super().mask(rows)
        found = MaskedInMemoryRows(rows, self.masked_ids(), self.tokenizer)
        self.report("train", f"{found.num_masked:,} of {len(rows):,} rows are masked (without={self.without})")
        return found

    def masked_ids(self) -> set[str]:
        """Return the ids of the training examples that ``without`` names.

        Raises:
            InputError: it names a row that is not in the training data, or cannot be read.
        """
        return set() if not self.without or is_empty(self.without) else self._named_ids(self.without)

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

        With ``counterfactual_swaps``, each training example is followed by its twin if it has one.

        Raises:
            NoValidRowError: no row is valid, and ``on_bad_row`` is ``skip``.
            InputError: the source cannot be read, or a row is invalid and ``on_bad_row`` is ``stop``.
        """
        if split != "train" or self.counterfactual_swaps is None:
            return self.own_examples(split)
        if self._with_twins is None:
            self._with_twins = self._add_twins(self.own_examples(split), self.counterfactual_swaps)
        return self._with_twins

    def _add_twins(self, examples: list[E], source: str) -> list[E]:
        """Return each example with its twin after it, without twins that equal a validation row held out of the source.

        Raises:
            InputError: the swaps are invalid, or no example has one of their words.
        """
        swaps = load_swaps(source, "--data.counterfactual_swaps")
        held_out = {text_hash(group) for group in self._held_out or ()}
        result, num_twins = list[E](), 0
        for example in examples:
            twin, texts = self.twin(example, swaps)
            is_held_out = text_hash(str(getattr(twin, self.hold_out_attribute))) in held_out
            is_new = any(text.replacements for text in texts) and not is_held_out
            result += [example, twin] if is_new else [example]
            num_twins += is_new
        if not num_twins:
            raise InputError(
                f"--data.counterfactual_swaps={source}: no training row has one of these words. Leave it out, or give "
                "a file with words of your rows"
            )
        self.report(
            "train",
            f"{num_twins:,} of {len(examples):,} rows are also trained on with swapped words "
            f"(counterfactual_swaps={source})",
        )
        return result

    def twin(self, example: E, swaps: Swaps) -> tuple[E, list[SwappedText]]:
        """Return an example with swapped words, and each of its texts. The twin has the id of the example."""
        texts: list[SwappedText] = []

        def swap(text: str) -> SwappedText:
            texts.append(swaps(text))
            return texts[-1]

        return self.swapped(example, swap), texts

    def own_examples(self, split: Split) -> list[E]:
        """Return the valid examples of a split, without counterfactual twins."""
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
            parsed = self.parse_rows(rows, split, has_labels)
            if not has_labels:
                parsed = itertools.islice(parsed, self._max_predicted_rows)
            examples, errors = valid_examples(parsed, self.on_bad_row)
            self.invalid_rows[split] = errors
            self._report_skipped(split, errors, len(examples) + len(errors))
            if not examples:
                raise NoValidRowError(split, "no row is valid; fix the file, or choose a different one")
            self._examples[split, has_labels] = examples
        return self._examples[split, has_labels]

    def limit_predicted_rows(self, count: int | None) -> None:
        """Read only the first rows of the test source in the stage ``predict``; None reads all."""
        self._max_predicted_rows = count

    def use_examples(self, examples: list[E]) -> None:
        """Use examples in place of the test source in the stage ``predict``."""
        self._examples["test", False] = examples

    def keep_encodable(self, split: Split, rows: Iterable[R | InputError], num_rows: int) -> list[R]:
        """Return the encoded rows of a split without those that cannot be encoded for the model.

        Args:
            split: the split.
            rows: each encoded row, or an error in its place.
            num_rows: number of rows of the split.

        Raises:
            InputError: a row cannot be encoded, and ``on_bad_row`` is ``stop``.
        """
        found, errors = valid_examples(rows, self.on_bad_row)
        self.unfit_rows[split] = errors
        self._report_skipped(split, errors, num_rows)
        return found

    def num_dropped(self, split: Split) -> int:
        """Return the number of invalid rows in the source of an open split and of its rows that cannot be encoded."""
        invalid, unfit = self.invalid_rows.get(self.source_split(split), []), self.unfit_rows.get(split, [])
        return len(invalid) + len(unfit)

    def _report_skipped(self, split: Split, errors: Sequence[InputError], num_rows: int) -> None:
        if errors:
            self.report(split, skipped_line(Counter(map(cause, errors)), num_rows))

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


class NoValidRowError(InputError):
    """No row of a split is valid."""

    def __init__(self, split: Split, message: str) -> None:
        super().__init__(f"--data.{split}: {message}")
        self.split = split


class RepeatedIdError(InputError):
    """Two rows have the same id."""


def with_unique_ids(examples: Iterable[R | InputError]) -> Iterator[R | InputError]:
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


def valid_examples(examples: Iterable[R | InputError], on_bad_row: OnBadRow) -> tuple[list[R], list[InputError]]:
    """Return the valid examples, and the errors of the invalid ones.

    Raises:
        InputError: a row is invalid, or two rows have the same id, and ``on_bad_row`` is ``stop``.
    """
    valid: list[R] = []
    errors: list[InputError] = []
    for example in with_unique_ids(examples):
        if not isinstance(example, InputError):
            valid.append(example)
        elif on_bad_row == "stop":
            raise InputError(f"{example} (--data.on_bad_row=skip skips invalid rows)") from example
        else:
            errors.append(example)
    return valid, errors
