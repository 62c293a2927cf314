"""Text for next-token prediction, from files or the hub to batches."""

from collections.abc import Iterator
from typing import ClassVar

from gpt_lightning.batch import LanguageModelingBatch
from gpt_lightning.data.base import DataModule, Split
from gpt_lightning.data.packing import PackedBlocks
from gpt_lightning.data.shards import TokenStream, tokenise
from gpt_lightning.data.sources.source import read_texts


class LanguageModeling(DataModule):
    """Blocks of packed text for causal language modelling.

    A source is a file, a folder, a glob or a list of them (``.txt``, ``.jsonl``, ``.csv``, ``.parquet``, each also
    ``.gz``), or ``hub:NAME[:CONFIG][@SPLIT]`` for a data set of the Hugging Face hub. Its text is tokenised once and
    kept in the cache; an epoch shows every block once, in an order that (seed, epoch) decides.

    Args:
        train: source of the training text.
        validation: source of the text that is judged during training.
        test: source of the text that is judged at the end.
        text_column: the column that holds the text, of sources with columns.
        tokenizer: ``characters``, ``bytes``, ``bpe:SIZE`` (the first and the last are made from the training text), a
            ``tokenizer.json``, a folder with one or with GPT-2's vocabulary files, or ``hub:NAME``.
        block_size: tokens of a block; follows the model's.
        batch_size: blocks of a batch on each device.
        mask_documents: keep attention inside documents; positions start again with each.
        num_workers: processes that prepare batches ahead.
        seed: decides the order; None takes ``seed_everything``.
        cache_dir: where tokens and trained tokenizers are kept.
    """

    batch: ClassVar[type] = LanguageModelingBatch

    def __init__(
        self,
        train: str | list[str] | None = None,
        validation: str | list[str] | None = None,
        test: str | list[str] | None = None,
        text_column: str = "text",
        tokenizer: str = "bpe:4096",
        block_size: int = 1024,
        batch_size: int = 8,
        mask_documents: bool = False,
        num_workers: int = 0,
        seed: int | None = None,
        cache_dir: str = "~/.cache/gpt_lightning",
    ) -> None:
        super().__init__(train, validation, test, tokenizer, block_size, batch_size, num_workers, seed, cache_dir)
        self.text_column = text_column
        self.mask_documents = mask_documents

    def prepare_data(self) -> None:
        """Tokenise what the run will need, on one process."""
        for split in self._splits_of_run():
            self._tokenise(split, progress=True)
        super().prepare_data()

    def stream(self, split: Split) -> TokenStream:
        """The tokens of a split that ``setup`` has opened."""
        rows = self._rows[split]
        assert isinstance(rows, PackedBlocks)
        return rows.stream

    def _training_texts(self) -> Iterator[str]:
        return (piece.text for piece in read_texts(self._source("train"), split="train", text_column=self.text_column))

    def _text_columns(self) -> str:
        return self.text_column

    def _open(self, split: Split) -> PackedBlocks:
        return PackedBlocks(
            self._tokenise(split),
            block_size=self.block_size,
            token_bytes=self.tokenizer.token_bytes,
            end_of_text_id=self.tokenizer.end_of_text_id,
            mask_documents=self.mask_documents,
            seed=self.seed if split == "train" else None,
        )

    def _tokenise(self, split: Split, progress: bool = False) -> TokenStream:
        folder = tokenise(
            self._source(split),
            split=split,
            text_column=self.text_column,
            tokenizer=self.tokenizer,
            cache_dir=self.cache_dir,
            progress=progress,
        )
        return TokenStream(folder)
