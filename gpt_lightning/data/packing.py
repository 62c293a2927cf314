"""Packed blocks of text for language modeling.

T is the block size, B the number of rows, V the size of the vocabulary.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from gpt_lightning.batch import IGNORE_INDEX, LanguageModelingBatch
from gpt_lightning.data.masked_rows import digest_of
from gpt_lightning.data.permutation import Permutation
from gpt_lightning.data.shards import TokenStream
from gpt_lightning.errors import InputError

_ORDER_CHUNK: Final = 1024
"""Entries of a shuffled order that are computed together, which takes hardly longer than the entries of one batch."""


class PackedBlocks:
    """Token stream that is split into blocks of ``block_size`` inputs, with the next token as the label of each.

    With a seed, the blocks of an epoch are shuffled. They start at an offset that differs between epochs, so that block
    borders move. Order and offset depend only on the seed and the epoch. The stream is read as a ring: an epoch omits
    fewer than ``block_size`` tokens.

    Without a seed, blocks are in order, and the last one is filled up with ignored labels. Every token except the first
    is predicted exactly once.

    Args:
        stream: tokens of the split.
        block_size: T.
        token_bytes: (V,) UTF-8 bytes per id.
        end_of_text_id: id of the token before each document.
        mask_documents: whether batches have ``document_ids``, which restrict attention to documents.
        seed: seed of the order; None keeps the order of the stream.
        masked: (n, 2) ranges of tokens to mask, sorted: each becomes end-of-text tokens without labels.

    Raises:
        InputError: a shuffled split has fewer than ``block_size + 1`` tokens.
    """

    def __init__(
        self,
        stream: TokenStream,
        *,
        block_size: int,
        token_bytes: NDArray[np.int64],
        end_of_text_id: int,
        mask_documents: bool = False,
        seed: int | None = None,
        masked: NDArray[np.int64] = np.empty((0, 2), dtype=np.int64),
    ) -> None:
        self.stream = stream
        self.block_size = block_size
        self.token_bytes = token_bytes
        self.end_of_text_id = end_of_text_id
        self.mask_documents = mask_documents
        self.seed = seed
        self.masked = masked
        self.mask_digest = digest_of(f"{start} {stop}" for start, stop in masked.tolist())
        self.digest = f"{stream.checksum} {mask_documents}"
        if seed is not None and len(stream) <= block_size:
            raise InputError(
                f"the training text has only {len(stream):,} tokens, but at least {block_size + 1:,} are needed "
                "(block_size + 1); "
                "add text to --data.train, or lower --model.backbone.block_size"
            )

    def __len__(self) -> int:
        """Return the number of blocks of an epoch."""
        if self.seed is None:
            return -(-(len(self.stream) - 1) // self.block_size)
        return len(self.stream) // self.block_size

    @property
    def num_masked(self) -> int:
        """Number of masked documents."""
        return len(self.masked)

    def batch(self, epoch: int, indices: NDArray[np.int64], num_padding: int = 0) -> LanguageModelingBatch:
        """Return the blocks at ``indices`` in the order of the epoch, with ``num_padding`` rows of ignored labels."""
        offset = self._offset(epoch)
        if self.seed is not None and len(indices):
            indices = self._shuffle(epoch, indices)
        tokens = np.full((len(indices) + num_padding, self.block_size + 1), self.end_of_text_id, dtype=np.int64)
        lengths = np.zeros((len(tokens), 1), dtype=np.int64)
        starts = [offset + int(index) * self.block_size for index in indices]
        for row, start in enumerate(starts):
            block = self._block(start)
            tokens[row, : len(block)] = block
            lengths[row] = len(block)
        labeled = np.arange(1, self.block_size + 1) < lengths
        documents = (tokens[:, :-1] == self.end_of_text_id).cumsum(axis=1)
        if len(self.masked):
            is_masked = np.zeros(tokens.shape, dtype=np.bool_)
            for row, start in enumerate(starts):
                is_masked[row] = self._is_masked(start)
            tokens[is_masked] = self.end_of_text_id
            # The end of a masked document is not predicted from its blank text.
            labeled &= ~(is_masked[:, 1:] | is_masked[:, :-1])
        labels = np.where(labeled, tokens[:, 1:], IGNORE_INDEX)
        batch = LanguageModelingBatch(
            input_ids=torch.from_numpy(tokens[:, :-1].copy()),
            labels=torch.from_numpy(labels),
            num_bytes=torch.from_numpy(np.where(labeled, self.token_bytes[tokens[:, 1:]], 0).sum(axis=1)),
            ids=[f"tokens {start}-{start + self.block_size}" for start in starts],
        )
        if self.mask_documents:
            batch["document_ids"] = torch.from_numpy(documents)
        return batch

    def masked_positions(self, epoch: int) -> NDArray[np.int64]:
        """Return the positions in the order of an epoch at which blocks with masked tokens are."""
        numbers = np.arange(len(self))
        starts = self._offset(epoch) + numbers * self.block_size
        # The last blocks wrap around to the start of the stream.
        is_masked = self._overlaps(starts) | self._overlaps(starts - len(self.stream))
        return np.flatnonzero(is_masked if self.seed is None else is_masked[self._shuffle(epoch, numbers)])

    def originals(self) -> Iterator[LanguageModelingBatch]:
        """Yield a batch of one block for each block of each masked document, from the token before it."""
        for start, stop in self.masked.tolist():
            for first in range(start - 1, stop - 1, self.block_size):
                last = min(first + self.block_size + 1, stop)
                tokens = torch.from_numpy(self.stream.slice(first, last))[None]
                yield LanguageModelingBatch(
                    input_ids=tokens[:, :-1],
                    labels=tokens[:, 1:],
                    num_bytes=torch.from_numpy(self.token_bytes)[tokens[:, 1:]].sum(1),
                    ids=[f"tokens {first}-{last}"],
                )

    def _overlaps(self, starts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether the blocks at ``starts`` have masked tokens."""
        nearest = np.searchsorted(self.masked[:, 1], starts, side="right")
        begins = np.append(self.masked[:, 0], np.iinfo(np.int64).max)[nearest]
        return begins < starts + self.block_size + 1

    def _is_masked(self, start: int) -> NDArray[np.bool_]:
        """Return which of the T + 1 tokens of a block are masked."""
        places = (start + np.arange(self.block_size + 1)) % len(self.stream)
        nearest = np.searchsorted(self.masked[:, 1], places, side="right")
        return np.append(self.masked[:, 0], np.iinfo(np.int64).max)[nearest] <= places

    def _offset(self, epoch: int) -> int:
        """Return the token at which the first block of an epoch starts."""
        if self.seed is None:
            return 0
        digest = hashlib.sha256(f"offset {self.seed} {epoch}".encode()).digest()
        return int.from_bytes(digest[:8], "little") % self.block_size

    def _shuffle(self, epoch: int, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the block numbers at ``indices`` of the shuffled order."""
        assert self.seed is not None
        first, last = int(indices.min()) // _ORDER_CHUNK, int(indices.max()) // _ORDER_CHUNK
        chunks = [_order_chunk(len(self), self.seed, epoch, chunk) for chunk in range(first, last + 1)]
        return np.concatenate(chunks)[indices - first * _ORDER_CHUNK]

    def _block(self, start: int) -> NDArray[np.int64]:
        """Return T + 1 tokens from ``start``; at the end of the stream, wrap around if shuffled, else return fewer."""
        stop = start + self.block_size + 1
        block = self.stream.slice(start, min(stop, len(self.stream)))
        if self.seed is None or stop <= len(self.stream):
            return block
        return np.concatenate((block, self.stream.slice(0, stop - len(self.stream))))


@lru_cache(maxsize=2)
def _order_chunk(size: int, seed: int, epoch: int, chunk: int) -> NDArray[np.int64]:
    """Return one chunk of the shuffled order of ``size`` blocks."""
    indices = np.arange(chunk * _ORDER_CHUNK, min((chunk + 1) * _ORDER_CHUNK, size))
    return Permutation(size, seed, epoch)[indices]
