"""Data module for causal language modeling: text packed into blocks."""

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
    """Blocks of packed text for causal language modeling.

    A source is a file, a folder, a glob or a list of them (``.txt``, ``.jsonl``, ``.csv``, ``.parquet``, each also
    ``.gz``), or ``hub:NAME[:CONFIG][@SPLIT]`` for a dataset of the Hugging Face hub. The text is tokenized once into
    ``cache_dir``. An epoch reads every block once, in an order that is a function of (seed, epoch).

    Args:
        text_column: column with the text, in sources with columns.
        batch_size: blocks per batch on each device.
        mask_documents: restrict attention to the document of each token and restart positions with each document.
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
        """Tokenize, on one process, the splits of the running Trainer or, without one, all that have a source."""
        for split in self.splits_to_prepare():
            self._tokenize(split, progress=True)
        super().prepare_data()

    def stream(self, split: Split) -> TokenStream:
        """Return the tokens of a split that ``setup`` has opened."""
        rows = self._rows[split]
        assert isinstance(rows, PackedBlocks)
        return rows.stream

    def training_texts(self) -> Iterator[str]:
        """Yield the documents of the training split in pieces."""
        return (piece.text for piece in read_texts(self.source("train"), split="train", text_column=self.text_column))

    def training_texts_digest(self) -> str:
        """Return the fingerprint of the training files and the text column: hashing all text would take long."""
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
