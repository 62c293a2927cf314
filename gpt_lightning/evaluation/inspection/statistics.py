"""Statistics of a split: lengths, labels, padding, duplicates, and how well tokens fit the text."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.data.shards import TokenStream
from gpt_lightning.evaluation.inspection.token_rows import TokenRow
from gpt_lightning.tokenizers.tokenizer import Tokenizer

_WORD_ROWS: Final = 200
"""Rows whose words are counted, because decoding takes time."""
_CHUNK: Final = 1 << 20


class Repeat(NamedTuple):
    """Row or document that is equal to an earlier one."""

    id: str
    first_id: str


@dataclass
class Statistics:
    """Counts over the rows of a split.

    Attributes:
        num_rows: rows of batches: texts, windows, conversations or blocks.
        num_tokens: tokens without padding.
        num_padding: positions of batches that are padding.
        num_targets: tokens, words or rows that the loss counts.
        num_unknown: unknown tokens.
        num_wrong_labels: labels of next-token prediction that are not the next token.
        lengths: tokens of each row or, for packed text, of each document.
        label_counts: number of rows, or of words, with each label.
        first_label_ids: label -> id of the first row with it.
        numbers: labels of rows in regression.
        distinct_labels: labels of whole rows, without equal ones.
        first_ids: digest of the tokens of a row or document -> id of the first one with them.
        repeats: rows or documents that are equal to an earlier one.
        contradictions: rows that are equal to an earlier one with another label.
        num_sampled_tokens: tokens of the first rows, whose words are counted.
        num_sampled_words: words of these rows.
    """

    num_rows: int = 0
    num_tokens: int = 0
    num_padding: int = 0
    num_targets: int = 0
    num_unknown: int = 0
    num_wrong_labels: int = 0
    lengths: list[int] = field(default_factory=list)
    label_counts: Counter[str] = field(default_factory=Counter)
    first_label_ids: dict[str, str] = field(default_factory=dict)
    numbers: list[float] = field(default_factory=list)
    distinct_labels: set[tuple[str, ...] | None] = field(default_factory=set)
    first_ids: dict[bytes, str] = field(default_factory=dict)
    repeats: list[Repeat] = field(default_factory=list)
    contradictions: list[Repeat] = field(default_factory=list)
    num_sampled_tokens: int = 0
    num_sampled_words: int = 0

    @property
    def num_parts(self) -> int:
        """Number of rows, conversations or documents that are compared."""
        return len(self.first_ids) + len(self.repeats)

    @property
    def trained_share(self) -> float:
        """Part of the tokens that the loss counts; it says nothing where rows have labels."""
        return self.num_targets / max(1, self.num_tokens)

    @property
    def padding_share(self) -> float:
        """Part of all positions of batches that is padding."""
        return self.num_padding / max(1, self.num_padding + self.num_tokens)

    @property
    def unknown_share(self) -> float:
        """Part of the tokens that is unknown."""
        return self.num_unknown / max(1, self.num_tokens)

    @property
    def tokens_per_word(self) -> float:
        """Mean number of tokens of a word of the first rows; words are separated by whitespace."""
        return self.num_sampled_tokens / max(1, self.num_sampled_words)


class Collector:
    """Sum of the statistics of rows.

    Args:
        tokenizer: the tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.unknown_id = tokenizer, tokenizer.unknown_id
        self.statistics = Statistics()
        self._labels: dict[bytes, tuple[str, ...] | None] = {}

    def add(self, row: TokenRow) -> None:
        """Count a row."""
        found = self.statistics
        found.num_rows += 1
        # The first token of a block is the last label of the block before.
        found.num_tokens += len(row.ids) - row.is_block
        found.num_padding += row.num_padding
        found.num_targets += row.num_targets
        found.num_wrong_labels += row.num_wrong_labels
        if self.unknown_id is not None:
            found.num_unknown += int((row.ids == self.unknown_id).sum())
        self._count_labels(row)
        if not row.notes and row.num_targets:
            found.distinct_labels.add(row.labels)
        if found.num_rows <= _WORD_ROWS:
            found.num_sampled_tokens += len(row.ids)
            found.num_sampled_words += len(self.tokenizer.decode(row.ids).split())
        for part in row.parts():
            found.lengths.append(len(part))
            self._compare(row.id, part, row.labels)

    def add_document(self, name: str, ids: NDArray[np.int64]) -> None:
        """Count a document of packed text, whose tokens are those of blocks."""
        self.statistics.lengths.append(len(ids))
        self._compare(name, ids)

    def _count_labels(self, row: TokenRow) -> None:
        found = self.statistics
        if row.number is not None:
            found.numbers += [] if row.labels is None else [row.number]
            return
        for label in (*row.notes.values(), *(row.labels or ())):
            found.label_counts[label] += 1
            found.first_label_ids.setdefault(label, row.id)

    def _compare(self, name: str, ids: NDArray[np.int64], labels: tuple[str, ...] | None = None) -> None:
        """Compare the tokens of a row or a document with all earlier ones.

        Rows are equal if the model reads the same tokens, even if truncation has removed a difference. The verdict of
        ``test`` compares complete texts instead (``evaluation/verdict/row_overlap.py``).
        """
        found, key = self.statistics, _digest(ids)
        if key not in found.first_ids:
            found.first_ids[key], self._labels[key] = name, labels
            return
        found.repeats.append(Repeat(name, found.first_ids[key]))
        if self._labels[key] != labels:
            found.contradictions.append(found.repeats[-1])


def documents(stream: TokenStream, end_of_text_id: int, max_tokens: int) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield the name and the tokens of each document of packed text.

    Args:
        stream: tokens with the end-of-text token before each document and at the end.
        end_of_text_id: this token.
        max_tokens: number of tokens that are read.
    """
    pending: list[NDArray[np.int64]] = []
    start = 0
    stop = min(len(stream), max_tokens)
    for first in range(0, stop, _CHUNK):
        tokens = stream.slice(first, min(stop, first + _CHUNK))
        *complete, rest = np.split(tokens, np.flatnonzero(tokens == end_of_text_id))
        for part in complete:
            document = np.concatenate([*pending, part])
            pending = []
            if len(text := document[document != end_of_text_id]):
                yield f"the document at token {start}", text
            start += len(document)
        pending.append(rest)
    if stop == len(stream) and len(text := np.concatenate([*pending, np.empty(0, dtype=np.int64)])) > 1:
        yield f"the document at token {start}", text[text != end_of_text_id]


def _digest(ids: NDArray[np.int64]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(ids).tobytes(), digest_size=16).digest()
