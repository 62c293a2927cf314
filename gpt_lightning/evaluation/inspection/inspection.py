"""Inspection of a data module: every split that can be read, as batches of it show it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gpt_lightning.data.base import CutRow, DataModule, Split
from gpt_lightning.data.labeled import Labeled, NoValidRowError
from gpt_lightning.data.language_modeling import LanguageModeling
from gpt_lightning.data.sources.find_files import HUB, Source
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.inspection.spans import SpanCheck
from gpt_lightning.evaluation.inspection.statistics import Collector, Statistics, documents
from gpt_lightning.evaluation.inspection.token_rows import TokenRow, token_rows
from gpt_lightning.status import progress

MAX_TOKENS: Final = 5_000_000
"""Tokens of packed text that are read of each split. Labeled rows are read completely."""


@dataclass
class InspectedSplit:
    """A split, as its batches show it."""

    name: Split
    statistics: Statistics
    rows: Sequence[TokenRow] = ()
    """First rows, in the order in which ``fit`` reads them."""
    locations: Mapping[str, str] = field(default_factory=dict)
    """Id of a row -> its location, such as ``path:line``."""
    cut_rows: Sequence[CutRow] = ()
    invalid_rows: Sequence[InputError] = ()
    spans: SpanCheck | None = None
    """Check of the answers to questions; None without questions."""
    is_complete: bool = True
    """False if only the first tokens of packed text were read."""
    unreadable: str | None = None
    """Reason why the split cannot be read; None if it can."""

    def where(self, name: str) -> str:
        """Return the location of a row, or its id."""
        return self.locations.get(name, name if " " in name else f"row {name}")


@dataclass(frozen=True)
class Inspection:
    """Splits of a data module and the names of its labels."""

    splits: Mapping[Split, InspectedSplit]
    label_names: Sequence[str]
    """Labels by number; empty if the data module has none."""
    has_word_labels: bool
    """True if words, not rows, have labels."""
    stops_at_bad_rows: bool
    """True if ``fit`` refuses invalid rows; False if it skips them."""


def inspect_data(data: DataModule, *, num_shown: int = 3) -> Inspection:
    """Read the splits of a data module, without a model.

    Args:
        data: data module that has not been set up. Its workers are not used, and invalid rows are collected.
        num_shown: number of rows to keep of each split.

    Raises:
        InputError: the training or validation data cannot be read.
    """
    data.num_workers = 0
    stops = getattr(data, "on_bad_row", "stop") == "stop"
    if isinstance(data, Labeled):
        data.on_bad_row = "skip"
    splits: dict[Split, InspectedSplit] = {}
    try:
        data.setup("fit")
        for split in splits_of_fit(data):
            splits[split] = _inspect_split(data, split, num_shown)
        if (source := data.sources["test"]) and not _is_downloaded(source):
            splits["test"] = _inspect_test(data, num_shown)
    except NoValidRowError as error:
        splits[error.split] = _unreadable_split(data, error.split, error)
    is_readable = "train" in splits and splits["train"].unreadable is None
    return Inspection(
        splits,
        label_names=list(getattr(data, "labels", ())) if is_readable else [],
        has_word_labels="scored" in data.batch.__annotations__,
        stops_at_bad_rows=stops,
    )


def splits_of_fit(data: DataModule) -> list[Split]:
    """Return the splits that ``fit`` reads."""
    return ["train", "validation"] if data.has_validation else ["train"]


def _inspect_test(data: DataModule, num_shown: int) -> InspectedSplit:
    """Return the test split, which ``fit`` does not need."""
    try:
        data.setup("test")
        return _inspect_split(data, "test", num_shown)
    except InputError as error:
        return _unreadable_split(data, "test", error)


def _inspect_split(data: DataModule, split: Split, num_shown: int) -> InspectedSplit:
    """Return a split that ``setup`` has opened."""
    collector, spans = Collector(data.tokenizer), _span_check(data, split)
    shown: list[TokenRow] = []
    is_complete = True
    for rows in _batches(data, split):
        for row in rows:
            collector.add(row)
            if spans is not None:
                spans.add(row)
        shown += rows[: num_shown - len(shown)]
        if not isinstance(data, Labeled) and collector.statistics.num_tokens >= MAX_TOKENS:
            is_complete = False
            break
    if isinstance(data, LanguageModeling):
        for name, ids in documents(data.stream(split), data.tokenizer.end_of_text_id, MAX_TOKENS):
            collector.add_document(name, ids)
    return InspectedSplit(
        split,
        collector.statistics,
        rows=shown,
        locations=_locations(data, split),
        cut_rows=data.cut_rows.get(split, []),
        invalid_rows=_invalid_rows(data, split),
        spans=spans,
        is_complete=is_complete,
    )


def _batches(data: DataModule, split: Split) -> Iterator[list[TokenRow]]:
    """Yield the rows of each batch of the first epoch."""
    loaders = {"train": data.train_dataloader, "validation": data.val_dataloader, "test": data.test_dataloader}
    loader, names = loaders[split](), list(getattr(data, "labels", ()))
    with progress(f"Inspecting the {split} data", len(loader)) as advance:
        for batch in loader:
            yield list(token_rows(batch, end_of_text_id=data.tokenizer.end_of_text_id, label_names=names))
            advance(1)


def _span_check(data: DataModule, split: Split) -> SpanCheck | None:
    """Return the check of answers for batches with the answers to questions."""
    if "start_positions" not in data.batch.__annotations__ or not isinstance(data, Labeled):
        return None
    return SpanCheck(data.examples(split), data.tokenizer)


def _unreadable_split(data: DataModule, split: Split, error: InputError) -> InspectedSplit:
    """Return a split without a valid row."""
    return InspectedSplit(split, Statistics(), invalid_rows=_invalid_rows(data, split), unreadable=str(error))


def _invalid_rows(data: DataModule, split: Split) -> list[InputError]:
    """Return the errors of invalid rows; those of a source count for the split that it belongs to."""
    if not isinstance(data, Labeled):
        return []
    return [*data.invalid_rows.get(split, []), *data.unfit_rows.get(split, [])]


def _locations(data: DataModule, split: Split) -> dict[str, str]:
    return {str(each.id): each.where for each in data.examples(split)} if isinstance(data, Labeled) else {}


def _is_downloaded(source: Source) -> bool:
    """Return whether a source is on the Hugging Face hub, so that ``fit`` would not download it for testing."""
    return any(each.startswith(HUB) for each in ([source] if isinstance(source, str) else source))
