"""Training rows without their text and labels, for exact replays: all other rows, their order and shapes stay equal.

Blanked text is a run of end-of-text tokens of the same length. It has no labels, so its loss and its gradient are 0.
"""

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.data.length_batching import InMemoryRows
from gpt_lightning.data.loader import Position, Rows
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.tokenizer import Tokenizer

_TOKENS: Final = ("input_ids", "decoder_input_ids")
_LABELS: Final = ("labels", "start_positions", "end_positions")


class MaskedRows(Rows, Protocol):
    """Rows of which some are masked."""

    @property
    def mask_digest(self) -> str:
        """String that differs for different masks; empty if nothing is masked."""

    @property
    def num_masked(self) -> int:
        """Number of masked rows of an epoch or, for language modeling, of masked documents."""

    def masked_positions(self, epoch: int) -> NDArray[np.int64]:
        """Return the positions in the order of an epoch at which rows with masked text are."""

    def originals(self) -> Iterator[Any]:
        """Yield a batch of one row for each row with masked text, with this text and only its labels."""


class MaskedInMemoryRows:
    """Rows in memory, of which the text and the labels of some examples are blanked in every batch.

    Args:
        rows: all rows, with the ids of their examples.
        masked: ids of the examples to blank.
        tokenizer: tokenizer, for the end-of-text token and the bytes of labels.

    Raises:
        InputError: the data module does not give the ids of its examples, or all are masked.
    """

    def __init__(self, rows: InMemoryRows, masked: Collection[str], tokenizer: Tokenizer) -> None:
        if rows.example_ids is None:
            raise InputError("--data.without: this data module must give example_ids to InMemoryRows, to mask rows")
        self.rows = rows
        self.digest = rows.digest
        self.filler = tokenizer.end_of_text_id
        self.token_bytes = torch.from_numpy(tokenizer.token_bytes)
        places = {
            number: [place for place, name in enumerate(ids) if name in masked]
            for number, ids in enumerate(rows.example_ids)
        }
        if all(len(found) == len(rows.example_ids[number]) for number, found in places.items()):
            raise all_masked()
        self.masked = {number: found for number, found in places.items() if found}
        """Row number -> places of its masked examples, of which packed rows have several."""
        self.mask_digest = digest_of(f"{number} {found}" for number, found in self.masked.items())

    def __len__(self) -> int:
        """Return the number of rows of an epoch."""
        return len(self.rows)

    @property
    def num_masked(self) -> int:
        """Number of masked rows of an epoch."""
        return len(self.masked)

    def masked_positions(self, epoch: int) -> NDArray[np.int64]:
        """Return the positions in the order of an epoch at which rows with masked text are."""
        return np.flatnonzero(np.isin(self.rows.order(epoch), list(self.masked)))

    def batch(self, epoch: int, indices: NDArray[np.int64], num_padding: int) -> Any:
        """Return the batch of the rows at ``indices``, in which masked examples are blank."""
        batch = self.rows.batch(epoch, indices, num_padding)
        numbers = self.rows.order(epoch)[indices].tolist()
        masked = {place: self.masked[number] for place, number in enumerate(numbers) if number in self.masked}
        if not masked:
            return batch
        batch = {name: value.clone() if isinstance(value, Tensor) else value for name, value in batch.items()}
        for place, documents in masked.items():
            _remove(batch, place, documents, self.filler)
        self._count_bytes(batch)
        return batch

    def originals(self) -> Iterator[Any]:
        """Yield a batch of one row for each row with masked text, with this text and only its labels."""
        for number, documents in self.masked.items():
            batch = self.rows.collate([number], 0)
            if "document_ids" in batch:
                others = set(batch["document_ids"][0].tolist()) - set(documents)
                _remove(batch, 0, sorted(others))
                self._count_bytes(batch)
            yield batch

    def _count_bytes(self, batch: dict[str, Any]) -> None:
        if "num_bytes" in batch:
            is_label = batch["labels"] != IGNORE_INDEX
            batch["num_bytes"] = self.token_bytes[batch["labels"].where(is_label, 0)].where(is_label, 0).sum(1)


def _remove(batch: dict[str, Any], row: int, documents: Sequence[int], filler: int | None = None) -> None:
    """Remove the labels of a row, or of some documents of a packed row, in place.

    Args:
        batch: batch with the row.
        row: index of the row.
        documents: numbers of the documents, which count if the row is packed.
        filler: token that replaces their text; None keeps the text.
    """
    is_removed: Any = ...
    if "document_ids" in batch:
        is_removed = torch.isin(batch["document_ids"][row], torch.tensor(documents))
    for name in _TOKENS if filler is not None else ():
        if name in batch:
            batch[name][row][is_removed] = filler
    for name in _LABELS:
        if name in batch:
            batch[name][row][is_removed] = math.nan if batch[name].is_floating_point() else IGNORE_INDEX


def all_masked() -> InputError:
    """Return the error about a mask that leaves nothing to train on."""
    return InputError("--data.without names all training rows, so nothing would be trained. Leave some of them out")


def digest_of(parts: Iterable[str]) -> str:
    """Return a digest of parts that describe a mask; an empty string without parts."""
    found = "\n".join(parts)
    return hashlib.sha256(found.encode()).hexdigest() if found else ""


def first_occurrence(rows: MaskedRows, global_batch: int, num_batches: int, epochs: range) -> Position | None:
    """Return the first position at which a batch has masked text; None if there is none.

    Args:
        rows: the rows.
        global_batch: rows of a batch over all ranks.
        num_batches: batches of an epoch that are trained.
        epochs: epochs to search.
    """
    for epoch in epochs if rows.mask_digest else ():
        batches = rows.masked_positions(epoch) // global_batch
        if len(batches) and batches.min() < num_batches:
            return epoch, int(batches.min())
    return None
