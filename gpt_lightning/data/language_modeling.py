"""Data module for causal language modeling on packed blocks of text."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.batch import LanguageModelingBatch
from gpt_lightning.data.base import DataModule, Split
from gpt_lightning.data.document_split import Part, documents_of
from gpt_lightning.data.loader import Rows
from gpt_lightning.data.masked_documents import read_documents, token_ranges
from gpt_lightning.data.masked_rows import MaskedRows, all_masked
from gpt_lightning.data.named_rows import KEY, canonical_location, check_found, is_empty, named_locations
from gpt_lightning.data.packing import PackedBlocks
from gpt_lightning.data.settings import CommonSettings
from gpt_lightning.data.shards import TokenStream, skipped_rows, tokenize
from gpt_lightning.data.sources.bad_rows import OnBadRow, skipped_line
from gpt_lightning.data.sources.documents import check_separator, frequent_separator, missing_separator
from gpt_lightning.data.sources.source import Piece, Source, fingerprint, read_texts
from gpt_lightning.unpack import Unpack


class LanguageModeling(DataModule):
    """Packed blocks of text for causal language modeling.

    Sources are text files such as ``.txt``, ``.md`` and ``.py``, tables such as ``.jsonl``, ``.csv`` and ``.parquet``,
    each also compressed, or datasets of the Hugging Face hub. The text is tokenized once, into ``cache_dir``. An epoch
    reads every block once, in an order that depends only on the seed and the epoch.

    Args:
        text_column: column with the text, in files and datasets with columns. ``meta.text`` is a column inside of the
            column ``meta``.
        document_separator: string between the documents of a text, such as ``<|endoftext|>``. Without it, a text file
            is one document, and so is a row.
        on_bad_row: ``stop`` at the first invalid row, or ``skip`` invalid rows and print their number by cause. A text
            file that cannot be decoded is one row.
        batch_size: blocks per batch on each device. Lower it if memory runs out, and raise
            ``trainer.accumulate_grad_batches`` to keep the same global batch.
        mask_documents: restrict attention to the document of each token, and restart positions with each document.
            Without it, tokens also attend to the earlier documents of their block.
    """

    batch: ClassVar[type] = LanguageModelingBatch

    def __init__(
        self,
        text_column: str = "text",
        document_separator: str | None = None,
        on_bad_row: OnBadRow = "stop",
        batch_size: int = 8,
        mask_documents: bool = False,
        **settings: Unpack[CommonSettings],
    ) -> None:
        super().__init__(batch_size=batch_size, **settings)
        self.text_column = text_column
        self.document_separator = None if document_separator is None else check_separator(document_separator)
        self.on_bad_row = on_bad_row
        self.mask_documents = mask_documents
        self._described: set[Split] = set()

    def prepare_data(self) -> None:
        """Tokenize, in one process, the splits of the running Trainer or, without one, all splits with a source."""
        for split in self.splits_to_prepare():
            self._tokenize(split)
        super().prepare_data()

    def stream(self, split: Split) -> TokenStream:
        """Return the tokens of a split that ``setup`` opened."""
        rows = self._rows[split]
        assert isinstance(rows, PackedBlocks)
        return rows.stream

    def training_texts(self) -> Iterator[str]:
        """Yield the documents of the training split in pieces."""
        return (piece.text for piece in self.pieces("train"))

    def training_texts_digest(self) -> str:
        """Return the fingerprint of the training files and how they are read, because hashing all text takes long."""
        options = self.read_options
        settings = (options.delimiter, options.encoding, self.document_separator)
        more = json.dumps(settings) if any(settings) else ""
        return fingerprint(self.source("train"), split="train") + self.text_column + more

    def open_split(self, split: Split) -> PackedBlocks:
        """Return the blocks of a split; only training blocks are shuffled."""
        return self._blocks(self._tokenize(split), seed=self.seed if split == "train" else None)

    def mask(self, rows: Rows) -> MaskedRows:
        """Return the training blocks with the documents masked that ``without`` names. Of equal ones, all are masked.

        The text after a masked document sees end-of-text tokens in its place, or nothing with ``mask_documents``.
        """
        assert isinstance(rows, PackedBlocks)
        assert self.without is not None
        numbers = [] if is_empty(self.without) else self._named_documents(self.without)
        masked = token_ranges(rows.stream, self.tokenizer.end_of_text_id, numbers)
        num_tokens = int((masked[:, 1] - masked[:, 0]).sum())
        if num_tokens + len(masked) + 1 >= len(rows.stream):  # the rest is the end-of-text tokens around documents
            raise all_masked()
        self.report(
            "train",
            f"{len(masked):,} of {rows.stream.num_documents:,} documents are masked, {num_tokens:,} of "
            f"{len(rows.stream):,} tokens (without={self.without})",
        )
        return self._blocks(rows.stream, seed=self.seed, masked=masked)

    def _blocks(
        self,
        stream: TokenStream,
        *,
        seed: int | None = None,
        masked: NDArray[np.int64] = np.empty((0, 2), dtype=np.int64),
    ) -> PackedBlocks:
        return PackedBlocks(
            stream,
            block_size=self.block_size,
            token_bytes=self.tokenizer.token_bytes,
            end_of_text_id=self.tokenizer.end_of_text_id,
            mask_documents=self.mask_documents,
            seed=seed,
            masked=masked,
        )

    def _named_documents(self, source: Source) -> list[int]:
        """Return the numbers of the training documents that a source names by their locations or their text.

        Raises:
            InputError: a document is not in the training data.
        """
        named, by_location = named_locations(source), True
        if named is None:
            rows = self._read(source, "train", separator=self.document_separator, key=KEY)
            named, by_location = list(read_documents(rows)), False

        def keys(pieces: Iterable[Piece]) -> Iterator[tuple[object, str]]:
            for each in read_documents(pieces):
                yield canonical_location(each.where) if by_location else each.key, each.where

        wanted = {each.key for each in named}
        found = {key for key, _ in keys(self.pieces("train")) if key in wanted}
        check_found(named, found, read_documents(self.pieces("train")))
        return [number for number, (key, _) in enumerate(keys(self._trained_pieces())) if key in wanted]

    def _trained_pieces(self) -> Iterator[Piece]:
        """Yield the pieces of the training documents that are not held out."""
        if self.validation_part is None or not self.holds_out_validation:
            return self.pieces("train")
        if not self._stream("train", Part("validation", self.validation_part)).num_documents:
            return self.pieces("train")
        return documents_of(Part("train", self.validation_part), self.pieces("train"), self.pieces("train"))

    def pieces(self, split: Split) -> Iterator[Piece]:
        """Yield the documents in the source of a split in pieces."""
        return self._read(self.source(split), split, separator=self.document_separator)

    def _read(self, source: Source, split: Split, *, separator: str | None, key: str | None = None) -> Iterator[Piece]:
        """Yield the documents of a source in pieces.

        Args:
            source: the source.
            split: its split.
            separator: string between documents.
            key: option that sets the source.
        """
        return read_texts(
            source,
            split=split,
            text_column=self.text_column,
            key=key,
            options=self.read_options,
            document_separator=separator,
            skipped=Counter() if self.on_bad_row == "skip" else None,
        )

    def _tokenize(self, split: Split) -> TokenStream:
        """Return the tokens of a split from the cache, after tokenizing it if needed."""
        self._report_text(self.source_split(split))
        if split == "test" or not self.holds_out_validation:
            return self._stream(split)
        fraction = self.validation_fraction if self.validation_part is None else self.validation_part
        if self.validation_part is not None:
            held_out = self._stream("train", Part("validation", fraction))
            if held_out.num_documents:
                kept = self._stream("train", Part("train", fraction))
                self._report_held_out(held_out, kept)
                return held_out if split == "validation" else kept
        stream = self._stream("train")
        # Validation predicts all of its tokens but the first, so it needs two.
        border = max(0, len(stream) - max(2, round(fraction * len(stream))))
        if self.validation_part is not None:
            self.report(
                "validation",
                f"held out the last {len(stream) - border:,} of {len(stream):,} tokens: the text is a single document",
            )
        is_validation = split == "validation"
        return TokenStream(stream.folder, start=border) if is_validation else TokenStream(stream.folder, stop=border)

    def _stream(self, split: Split, part: Part | None = None) -> TokenStream:
        """Return the tokens in the source of a split, or of a part of its documents."""
        folder = tokenize(
            self.source(split),
            split=split,
            text_column=self.text_column,
            tokenizer=self.tokenizer,
            cache_dir=self.cache_dir,
            progress=True,
            options=self.read_options,
            document_separator=self.document_separator,
            skips_bad_rows=self.on_bad_row == "skip",
            part=part,
        )
        stream = TokenStream(folder)
        if part is None and (skipped := skipped_rows(folder)):
            self.report(split, skipped_line(skipped, stream.num_documents + skipped.total()))
        return stream

    def _report_held_out(self, held_out: TokenStream, kept: TokenStream) -> None:
        documents = held_out.num_documents + kept.num_documents
        if skipped := skipped_rows(kept.folder):
            self.report("train", skipped_line(skipped, documents + skipped.total()))
        self.report(
            "validation",
            f"held out {held_out.num_documents:,} of the {documents:,} training documents, {len(held_out):,} of "
            f"{len(held_out) + len(kept):,} tokens (validation={self.validation_part})",
        )

    def _report_text(self, split: Split) -> None:
        """Print what users may not expect of the text of a split, once."""
        if split in self._described:
            return
        self._described.add(split)
        self.report_source(split)
        undivided = self._read(self.source(split), split, separator=None)
        if self.document_separator is not None:
            if split == "train" and (missing := missing_separator(undivided, self.document_separator)):
                self.report(split, missing)
        elif found := frequent_separator(undivided):
            separator, count = found
            self.report(
                split,
                f"the beginning of the text has {separator!r} {count:,} times, as ordinary characters. If it separates "
                f"documents, set --data.document_separator={separator!r}",
            )
