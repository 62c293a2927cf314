"""What the data modules of labelled rows share: each split is read once, and bad rows stop or are counted."""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Literal, Protocol, TypeVar

from lightning.pytorch.utilities import rank_zero_only

from gpt_lightning.data.base import DataModule, Split
from gpt_lightning.data.length_batching import ByLength, InOrder, LongestFirst, Order
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.row_formats import shown
from gpt_lightning.data.sources.source import Source, read_rows
from gpt_lightning.errors import InputError

OnBadRow = Literal["stop", "skip"]


class Example(Protocol):
    """A row that was read: what the user calls it, and where it is."""

    @property
    def id(self) -> str | None: ...
    @property
    def where(self) -> str: ...


E = TypeVar("E", bound=Example)


class Labelled(DataModule, Generic[E]):
    """A data module whose rows fit in memory: each split is read once.

    Args:
        on_bad_row: ``stop`` at a row that cannot be used, or ``skip`` it and print how many were for which reason.
    """

    def __init__(
        self,
        train: Source | None,
        validation: Source | None,
        test: Source | None,
        on_bad_row: OnBadRow,
        tokenizer: str,
        block_size: int,
        batch_size: int,
        num_workers: int,
        seed: int | None,
        cache_dir: str,
    ) -> None:
        super().__init__(train, validation, test, tokenizer, block_size, batch_size, num_workers, seed, cache_dir)
        self.on_bad_row = on_bad_row
        self._examples: dict[tuple[Split, bool], list[E]] = {}
        self._reported: set[tuple[str, str]] = set()

    @abstractmethod
    def _parse(self, rows: Iterator[Row], split: Split, labelled: bool) -> Iterator[E | InputError]:
        """Each row of a split as an example, or what is wrong with it."""

    def examples(self, split: Split) -> list[E]:
        """The good rows of a split. Rows that are to be predicted need no labels."""
        labelled = split == "train" or self.trainer is None or self._function != "predict"
        if (split, labelled) not in self._examples:
            rows = read_rows(self._source(split), split=split)
            good, causes = keep_good(self._parse(rows, split, labelled), self.on_bad_row)
            if causes:
                skipped = sum(causes.values())
                reasons = "".join(f"\n  {count:,} x {cause}" for cause, count in causes.most_common())
                self._report(split, f"skipped {skipped:,} of {len(good) + skipped:,} rows{reasons}")
            if not good:
                raise InputError(f"--data.{split}: no row is left")
            self._examples[split, labelled] = good
        return self._examples[split, labelled]

    def _order(self, split: Split, lengths: Sequence[int]) -> Order:
        """In which order rows of these ``lengths`` are drawn."""
        assert self.trainer is not None
        # The first batches of a limited judgement should be like the others, not the longest.
        limits = (self.trainer.limit_val_batches, self.trainer.limit_test_batches)
        if self._function == "predict" or (split != "train" and limits != (1.0, 1.0)):
            return InOrder(len(lengths))
        if split != "train":
            return LongestFirst(lengths)
        return ByLength(lengths, self.batch_size * self.trainer.world_size, self.seed)

    def _report(self, split: Split, message: str) -> None:
        """Tell the user, once for all ranks and however often the split is opened."""
        # Labels are read before there is a trainer.
        first = rank_zero_only.rank == 0 if self.trainer is None else self.trainer.is_global_zero  # type: ignore[attr-defined]
        if (split, message) not in self._reported and first:
            self._reported.add((split, message))
            print(f"{split}: {message}", flush=True)


def keep_good(examples: Iterable[E | InputError], on_bad_row: OnBadRow) -> tuple[list[E], Counter[str]]:
    """The examples without the bad ones, and how many of those there were for which reason.

    Raises:
        InputError: a row is bad, or two have the same id, and ``on_bad_row`` is ``stop``.
    """
    good: list[E] = []
    seen: dict[str, str] = {}
    causes: Counter[str] = Counter()
    for example in examples:
        error = example if isinstance(example, InputError) else None
        if not isinstance(example, InputError):
            first = seen.setdefault(str(example.id), example.where)
            if first is not example.where:
                error = InputError(
                    f"{example.where}: the id {shown(example.id)} is taken by {first}; give each row its own, "
                    "or name another column with --data.id_column"
                )
            else:
                good.append(example)
        if error is not None and on_bad_row == "stop":
            raise InputError(f"{error} (--data.on_bad_row=skip leaves such rows out)") from error
        if error is not None:
            causes[_cause(str(error))] += 1
    return good, causes


def _cause(message: str) -> str:
    """A message without its place and values: what all errors of a kind have in common."""
    reason = message.partition(": ")[2]  # every message begins with its place
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "…", reason)[:160]
