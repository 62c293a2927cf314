"""Data module for causal language modeling on packed blocks of text."""

from collections.abc import Iterator
from typing import ClassVar

from gpt_lightning.batch import LanguageModelingBatch
from gpt_lightning.data.base import DataModule, Split
from gpt_lightning.data.packing import PackedBlocks
from gpt_lightning.data.settings import CommonSettings
from gpt_lightning.data.shards import TokenStream, tokenize
from gpt_lightning.data.sources.source import fingerprint, read_texts
from gpt_lightning.unpack import Unpack


class LanguageModeling(DataModule):
    """Packed blocks of text for causal language modeling.

    Sources are ``.txt``, ``.jsonl``, ``.csv`` or ``.parquet`` files, each also compressed as ``.gz``, or datasets of
    the Hugging Face hub. The text is tokenized once, into ``cache_dir``. An epoch reads every block once, in an order
    that depends only on the seed and the epoch.

    Args:
        text_column: column with the text, in files and datasets with columns.
        batch_size: blocks per batch on each device. Lower it if memory runs out, and raise
            ``trainer.accumulate_grad_batches`` to keep the same global batch.
        mask_documents: restrict attention to the document of each token, and restart positions with each document.
            Without it, tokens also attend to the earlier documents of their block.
    """

    batch: ClassVar[type] = LanguageModelingBatch

    def __init__(
        self,
        text_column: str = "text",
        batch_size: int = 8,
        mask_documents: bool = False,
        **settings: Unpack[CommonSettings],
    ) -> None:
        super().__init__(batch_size=batch_size, **settings)
        self.text_column = text_column
        self.mask_documents = mask_documents

    def prepare_data(self) -> None:
        """Tokenize, in one process, the splits of the running Trainer or, without one, all splits with a source."""
        for split in self.splits_to_prepare():
            self._tokenize(split, progress=True)
        super().prepare_data()

    def stream(self, split: Split) -> TokenStream:
        """Return the tokens of a split that ``setup`` opened."""
        rows = self._rows[split]
        assert isinstance(rows, PackedBlocks)
        return rows.stream

    def training_texts(self) -> Iterator[str]:
        """Yield the documents of the training split in pieces."""
        return (piece.text for piece in read_texts(self.source("train"), split="train", text_column=self.text_column))

    def training_texts_digest(self) -> str:
        """Return the fingerprint of the training files and the text column, because hashing all text takes long."""
        return fingerprint(self.source("train"), split="train") + self.text_column

    def open_split(self, split: Split) -> PackedBlocks:
        """Return the blocks of a split; only training blocks are shuffled."""
        return PackedBlocks(
            self._tokenize(split),
            block_size=self.block_size,
            token_bytes=self.tokenizer.token_bytes,
            end_of_text_id=self.tokenizer.end_of_text_id,
            mask_documents=self.mask_documents,
            seed=self.seed if split == "train" else None,
        )

    def _tokenize(self, split: Split, progress: bool = False) -> TokenStream:
        """Return the tokens of a split from the cache, after tokenizing it if needed."""
        source_split = self.source_split(split)
        folder = tokenize(
            self.source(source_split),
            split=source_split,
            text_column=self.text_column,
            tokenizer=self.tokenizer,
            cache_dir=self.cache_dir,
            progress=progress,
        )
        stream = TokenStream(folder)
        if split == "test" or not self.holds_out_validation:
            return stream
        # Validation predicts all of its tokens but the first, so it needs two.
        border = max(0, len(stream) - max(2, round(self.validation_fraction * len(stream))))
        return TokenStream(folder, start=border) if split == "validation" else TokenStream(folder, stop=border)
