"""Rows of a batch as a person reads them: tokens without padding, what is trained, labels, and document borders.

The keys of a batch, which ``batch.py`` documents, say what its rows are. T is the number of tokens of a row.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.batch import IGNORE_INDEX

ANSWER = "answer"
"""Note on the first token of the answer to a question."""
NO_ANSWER = "no answer"
OUTSIDE = "O"
"""Tag of words outside of all entities."""


@dataclass(frozen=True)
class TokenRow:
    """Row of a batch without its padding."""

    id: str
    """Id of the row or, for packed text, its range of tokens."""
    ids: NDArray[np.int64]
    """(T,) token ids. Labels that are not in the input, such as the last token of a text, are among them."""
    is_trained: NDArray[np.bool_]
    """(T,) True for tokens that the loss counts, or that are the answer to a question."""
    notes: Mapping[int, str] = field(default_factory=dict)
    """Position of a token -> its label."""
    borders: Sequence[int] = ()
    """Positions at which a document, a conversation or a target begins, without the first."""
    labels: tuple[str, ...] | None = None
    """Labels of the whole row; None if its tokens have labels, or if the row is unlabeled."""
    num_targets: int = 0
    """Tokens, words or rows that the loss counts."""
    num_padding: int = 0
    """Positions of the batch that are not tokens of this row."""
    num_wrong_labels: int = 0
    """Labels of next-token prediction that differ from the next token, though no document begins there."""
    number: float | None = None
    """Label of the whole row in regression."""
    is_block: bool = False
    """True for a block of packed text, which begins and ends anywhere in its documents."""
    is_pair: bool = False
    """True for a source with its target, which a border separates."""

    def parts(self) -> Iterator[NDArray[np.int64]]:
        """Yield the tokens of each conversation, pair or text; a block of packed text has no complete one."""
        if not self.is_block:
            yield from [self.ids] if self.is_pair else np.split(self.ids, list(self.borders))


def token_rows(batch: Mapping[str, Any], *, end_of_text_id: int, label_names: Sequence[str] = ()) -> Iterator[TokenRow]:
    """Yield the rows of a batch in order, without padding rows.

    Args:
        batch: batch in one of the formats of ``batch.py``.
        end_of_text_id: id of the token before each document of packed text.
        label_names: names of the labels by number.
    """
    arrays = {name: np.asarray(value) for name, value in batch.items() if hasattr(value, "numpy")}
    names: Sequence[str] = batch.get("ids", [str(number) for number in range(len(arrays["input_ids"]))])
    owners = arrays.get("examples", np.arange(len(arrays["input_ids"])))
    for number, owner in enumerate(owners.tolist()):
        if not 0 <= owner < len(names):
            continue  # a padding row
        row = {name: array[number] for name, array in arrays.items()}
        if "decoder_input_ids" in row:
            yield _pair(names[owner], row)
        elif "num_bytes" in row:
            yield _next_tokens(names[owner], row, end_of_text_id)
        elif "scored" in row:
            yield _tags(names[owner], row, label_names)
        elif "start_positions" in row:
            yield _question(names[owner], row)
        else:
            yield _labeled(names[owner], row, label_names)


def _next_tokens(name: str, row: Mapping[str, NDArray[Any]], end_of_text_id: int) -> TokenRow:
    """Return a row of next-token prediction. Its tokens are the inputs, and the label where no input is equal to it."""
    inputs, labels = row["input_ids"], row["labels"]
    labeled = np.flatnonzero(labels != IGNORE_INDEX)
    length = int(labeled[-1]) + 1 if len(labeled) else len(inputs)
    inputs, labels = inputs[:length], labels[:length]
    has_label = labels != IGNORE_INDEX
    documents = row["document_ids"][:length] if "document_ids" in row else np.zeros(length, dtype=np.int64)
    begins = np.diff(documents, prepend=documents[:1]) != 0
    is_block = "prefix_mask" not in row  # conversations have prompts
    if is_block:
        begins |= inputs == end_of_text_id
    # Labels at the end of a conversation or of the row are the next token, but not the next input.
    is_added = has_label & (labels != np.append(inputs[1:], -1))
    places = np.flatnonzero(is_added) + 1
    ids = np.insert(inputs, places, labels[is_added])
    is_trained = np.insert(np.append(False, has_label[:-1] & ~is_added[:-1]), places, True)
    starts = np.flatnonzero(begins)
    return TokenRow(
        name,
        ids,
        is_trained,
        borders=[border for border in (starts + np.searchsorted(places, starts, side="right")).tolist() if border],
        num_targets=len(labeled),
        num_padding=len(row["input_ids"]) - length,
        num_wrong_labels=int((is_added[:-1] & ~begins[1:]).sum()),
        is_block=is_block,
    )


def _pair(name: str, row: Mapping[str, NDArray[Any]]) -> TokenRow:
    source, target = row["input_ids"][row["attention_mask"]], row["labels"][row["labels"] != IGNORE_INDEX]
    return TokenRow(
        name,
        np.concatenate((source, target)),
        np.arange(len(source) + len(target)) >= len(source),
        borders=[len(source)],
        num_targets=len(target),
        num_padding=row["input_ids"].size + row["labels"].size - len(source) - len(target),
        is_pair=True,
    )


def _tags(name: str, row: Mapping[str, NDArray[Any]], label_names: Sequence[str]) -> TokenRow:
    mask = row["attention_mask"]
    labels = row["labels"][mask]
    has_label = labels != IGNORE_INDEX
    return TokenRow(
        name,
        row["input_ids"][mask],
        has_label,
        notes={int(place): _name(int(labels[place]), label_names) for place in np.flatnonzero(has_label)},
        num_targets=int(has_label.sum()),
        num_padding=int((~mask).sum()),
    )


def _question(name: str, row: Mapping[str, NDArray[Any]]) -> TokenRow:
    mask, (start, end) = row["attention_mask"], (int(row["start_positions"]), int(row["end_positions"]))
    ids = row["input_ids"][mask]
    has_label, has_answer = start != IGNORE_INDEX, start not in (IGNORE_INDEX, int(row["null_positions"]))
    places = np.arange(len(ids))
    return TokenRow(
        name,
        ids,
        has_answer & (start <= places) & (places <= end),
        notes={start: ANSWER} if has_answer else {},
        labels=None if has_answer or not has_label else (NO_ANSWER,),
        num_targets=int(has_label),
        num_padding=int((~mask).sum()),
    )


def _labeled(name: str, row: Mapping[str, NDArray[Any]], label_names: Sequence[str]) -> TokenRow:
    """Return a row with a class, a set of classes or a number."""
    mask, label = row["attention_mask"], row["labels"]
    number = float(label) if np.issubdtype(label.dtype, np.floating) else None
    ids = row["input_ids"][mask]
    labels: tuple[str, ...] | None = None
    if label.ndim:
        if not (label == IGNORE_INDEX).any():
            labels = tuple(_name(int(each), label_names) for each in np.flatnonzero(label))
    elif number is not None:
        labels = None if math.isnan(number) else (f"{number:g}",)
    elif label != IGNORE_INDEX:
        labels = (_name(int(label), label_names),)
    return TokenRow(
        name,
        ids,
        np.zeros(len(ids), dtype=np.bool_),
        labels=labels,
        num_targets=int(labels is not None),
        num_padding=int((~mask).sum()),
        number=number,
    )


def _name(number: int, names: Sequence[str]) -> str:
    return names[number] if number < len(names) else str(number)
