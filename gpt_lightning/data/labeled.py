"""Base class of the data modules whose rows have labels and fit in memory; invalid rows stop the run or are skipped."""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from lightning.pytorch.utilities import rank_zero_only

from gpt_lightning.data.base import DataModule, Split
from gpt_lightning.data.hold_out import hold_out
from gpt_lightning.data.length_batching import LengthGroupedOrder, LongestFirstOrder, Order, SequentialOrder
from gpt_lightning.data.settings import DataSettings, OnBadRow
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.data.sources.source import read_rows
from gpt_lightning.errors import InputError
from gpt_lightning.unpack import Unpack


class Example(Protocol):
    """A parsed row."""

    @property
    def id(self) -> str | None:
        """The row's id, unique in its split."""

    @property
    def where(self) -> str:
        """The row's place for messages: ``path:line``."""


E = TypeVar("E", bound=Example)


class Labeled(DataModule, Generic[E]):
    """Base class of the data modules whose rows have labels and fit in memory.

    A subclass implements ``parse_rows`` and the hooks of ``DataModule``. Its ``open_split`` turns ``examples(split)``
    into ``InMemoryRows`` in the order of ``epoch_order``. Each split is read once.

    A subclass whose task has label names provides them as ``labels``, a list in the order of their numbers, and takes
    an argument ``labels``, which ``test`` and ``predict`` set to those of the checkpoint.

    Args:
        id_column: column with the id of each row; rows without one are numbered from 0.
        on_bad_row: ``stop`` at an invalid row, or ``skip`` invalid rows and print their number and the reasons.
    """

    def __init__(self, id_column: str = "id", on_bad_row: OnBadRow = "stop", **settings: Unpack[DataSettings]) -> None:
        super().__init__(**settings)
        self.id_column = id_column
        self.on_bad_row = on_bad_row
        self._examples: dict[tuple[Split, bool], list[E]] = {}
        self._held_out: set[str] | None = None
        self._reported: set[tuple[str, str]] = set()

    @abstractmethod
    def parse_rows(self, rows: Iterator[Row], split: Split, has_labels: bool) -> Iterator[E | InputError]:
        """Yield for each row its example or, if the row is invalid, an InputError that starts with ``row.where``.

        Args:
            rows: rows of the split's files, in order. One row may become several examples.
            split: the split that is read.
            has_labels: False when rows are read for ``predict``: then ignore the label column, which may be missing.
        """

    def hold_out_group(self, example: E) -> str:
        """Return the group of an example for ``validation_fraction``: a group is held out as a whole."""
        return str(example.id)

    def examples(self, split: Split) -> list[E]:
        """Return the valid examples of a split, with labels unless the stage is ``predict``.

        Raises:
            InputError: the source cannot be read, a row is invalid and ``on_bad_row`` is ``stop``, or none is valid.
        """
        found = self.source_examples(self.source_split(split))
        if split == "test" or not self.holds_out_validation:
            return found
        if self._held_out is None:
            self._held_out = hold_out(map(self.hold_out_group, found), self.validation_fraction)
        chosen = [each for each in found if (self.hold_out_group(each) in self._held_out) == (split == "validation")]
        if not chosen:
            raise InputError(
                f"--data.validation_fraction={self.validation_fraction}: --data.train has too few rows to hold one "
                "out. Add rows, or set the fraction to 0"
            )
        return chosen

    def source_examples(self, split: Split) -> list[E]:
        """Return the valid examples in the source of a split, held out or not."""
        has_labels = split == "train" or self.stage != "predict"
        if (split, has_labels) not in self._examples:
            rows = read_rows(self.source(split), split=split)
            examples, causes = valid_examples(self.parse_rows(rows, split, has_labels), self.on_bad_row)
            if causes:
                skipped = sum(causes.values())
                reasons = "".join(f"\n  {count:,} x {cause}" for cause, count in causes.most_common())
                self.report(split, f"skipped {skipped:,} of {len(examples) + skipped:,} rows{reasons}")
            if not examples:
                raise InputError(f"--data.{split}: no row is left")
            self._examples[split, has_labels] = examples
        return self._examples[split, has_labels]

    def epoch_order(self, split: Split, lengths: Sequence[int]) -> Order:
        """Return the order in which rows of these ``lengths`` (in tokens) are read.

        Training rows are shuffled and grouped by length, evaluation rows are sorted by length, and rows to predict
        stay in the order of their source.
        """
        trainer = self.running_trainer
        limits = (1.0, 1.0) if trainer is None else (trainer.limit_val_batches, trainer.limit_test_batches)
        # A limited evaluation reads the first batches: sorted by length they would not be representative.
        if self.stage == "predict" or (split != "train" and limits != (1.0, 1.0)):
            return SequentialOrder(len(lengths))
        if split != "train":
            return LongestFirstOrder(lengths)
        return LengthGroupedOrder(lengths, self.batch_size * (1 if trainer is None else trainer.world_size), self.seed)

    def report(self, split: Split, message: str) -> None:
        """Print a message about a split once, on rank 0, however often the split is opened."""
        trainer = self.running_trainer
        is_first = rank_zero_only.rank == 0 if trainer is None else trainer.is_global_zero  # type: ignore[attr-defined]
        if (split, message) not in self._reported and is_first:
            self._reported.add((split, message))
            print(f"{split}: {message}", flush=True)


def valid_examples(examples: Iterable[E | InputError], on_bad_row: OnBadRow) -> tuple[list[E], Counter[str]]:
    """Return the examples without the invalid ones, and the number of invalid ones by cause.

    Raises:
        InputError: a row is invalid, or two rows have the same id, and ``on_bad_row`` is ``stop``.
    """
    valid: list[E] = []
    places: dict[str, str] = {}
    causes: Counter[str] = Counter()
    for example in examples:
        error = example if isinstance(example, InputError) else None
        if not isinstance(example, InputError):
            first = places.setdefault(str(example.id), example.where)
            if first is not example.where:
                error = InputError(
                    f"{example.where}: the id {short_repr(example.id)} is taken by {first}; give each row its own, "
                    "or name another column with --data.id_column"
                )
            else:
                valid.append(example)
        if error is not None and on_bad_row == "stop":
            raise InputError(f"{error} (--data.on_bad_row=skip leaves such rows out)") from error
        if error is not None:
            causes[_cause(str(error))] += 1
    return valid, causes


def _cause(message: str) -> str:
    """Return a message without its place and values: the part that errors of one kind have in common."""
    reason = message.partition(": ")[2]  # every message begins with its place
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "…", reason)[:160]
