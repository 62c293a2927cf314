"""Packed blocks of text for language modeling.

N tokens of the split, T tokens of a block, B rows.
"""

import hashlib
from functools import lru_cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from gpt_lightning.batch import IGNORE_INDEX, LanguageModelingBatch
from gpt_lightning.data.permutation import Permutation
from gpt_lightning.data.shards import TokenStream
from gpt_lightning.errors import InputError

_TOGETHER: Final = 1024
"""Places of a shuffled order that are computed at a time: that takes hardly longer than those of one batch."""


class PackedBlocks:
    """A token stream cut into blocks of ``block_size`` inputs, each with the token that follows as its label.

    With a seed, an epoch's blocks are shuffled and cut at an offset of its own, so that their borders move; order and
    offset are functions of (seed, epoch). The text is read as a ring: an epoch leaves out fewer than ``block_size``
    tokens. Without a seed, blocks come in order and the last is filled up with ignored labels, so that every token but
    the very first is predicted exactly once.

    Args:
        stream: the split's tokens.
        block_size: T.
        token_bytes: (V,) UTF-8 bytes that each id spells.
        end_of_text_id: the token that starts each document.
        mask_documents: send ``document_ids`` along, so that attention stays inside documents.
        seed: of the order, or None.

    Raises:
        InputError: a shuffled split holds less than one block.
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
    ) -> None:
        self.stream = stream
        self.block_size = block_size
        self.token_bytes = token_bytes
        self.end_of_text_id = end_of_text_id
        self.mask_documents = mask_documents
        self.seed = seed
        self.digest = f"{stream.checksum} {mask_documents}"
        if seed is not None and len(stream) <= block_size:
            raise InputError(
                f"the training text has {len(stream):,} tokens, less than one block of {block_size} and its labels; "
                "give more text or lower --model.backbone.block_size"
            )

    def __len__(self) -> int:
        """Blocks of one epoch."""
        if self.seed is None:
            return -(-(len(self.stream) - 1) // self.block_size)
        return len(self.stream) // self.block_size

    def batch(self, epoch: int, indices: NDArray[np.int64], num_padding: int = 0) -> LanguageModelingBatch:
        """The blocks at ``indices`` of ``epoch``'s order, and ``num_padding`` rows whose labels are all ignored."""
        offset = 0
        if self.seed is not None and len(indices):
            digest = hashlib.sha256(f"offset {self.seed} {epoch}".encode()).digest()
            offset = int.from_bytes(digest[:8], "little") % self.block_size
            indices = self._shuffled(epoch, indices)
        tokens = np.full((len(indices) + num_padding, self.block_size + 1), self.end_of_text_id, dtype=np.int64)
        lengths = np.zeros((len(tokens), 1), dtype=np.int64)
        starts = [offset + int(index) * self.block_size for index in indices]
        for row, start in enumerate(starts):
            block = self._block(start)
            tokens[row, : len(block)] = block
            lengths[row] = len(block)
        labeled = np.arange(1, self.block_size + 1) < lengths
        labels = np.where(labeled, tokens[:, 1:], IGNORE_INDEX)
        batch = LanguageModelingBatch(
            input_ids=torch.from_numpy(tokens[:, :-1].copy()),
            labels=torch.from_numpy(labels),
            num_bytes=torch.from_numpy(np.where(labeled, self.token_bytes[tokens[:, 1:]], 0).sum(axis=1)),
            ids=[f"tokens {start}-{start + self.block_size}" for start in starts],
        )
        if self.mask_documents:
            batch["document_ids"] = (batch["input_ids"] == self.end_of_text_id).cumsum(dim=1)
        return batch

    def _shuffled(self, epoch: int, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The blocks at these places of the epoch's order."""
        assert self.seed is not None
        first, last = int(indices.min()) // _TOGETHER, int(indices.max()) // _TOGETHER
        parts = [_order(len(self), self.seed, epoch, part) for part in range(first, last + 1)]
        return np.concatenate(parts)[indices - first * _TOGETHER]

    def _block(self, start: int) -> NDArray[np.int64]:
        """T + 1 tokens from ``start``; past the end it goes on at the beginning if shuffled, else there are fewer."""
        stop = start + self.block_size + 1
        block = self.stream.slice(start, min(stop, len(self.stream)))
        if self.seed is None or stop <= len(self.stream):
            return block
        return np.concatenate((block, self.stream.slice(0, stop - len(self.stream))))


@lru_cache(maxsize=2)
def _order(size: int, seed: int, epoch: int, part: int) -> NDArray[np.int64]:
    """What stands at the places of one part of an epoch's order of ``size`` blocks."""
    places = np.arange(part * _TOGETHER, min((part + 1) * _TOGETHER, size))
    return Permutation(size, seed, epoch)[places]
