"""Text for next-token prediction, from files or the hub to batches."""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L

from gpt_lightning.data.loader import Position, ResumableLoader
from gpt_lightning.data.packing import PackedBlocks
from gpt_lightning.data.shards import TokenStream, tokenise
from gpt_lightning.data.source import Source, fingerprint, read_texts
from gpt_lightning.data.tokenizer import Tokenizer, build_tokenizer
from gpt_lightning.errors import InputError

Split = Literal["train", "validation", "test"]


class LanguageModeling(L.LightningDataModule):
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
        super().__init__()
        if batch_size < 1:
            raise InputError(f"--data.batch_size={batch_size} must be at least 1")
        self.sources: dict[Split, Source | None] = {"train": train, "validation": validation, "test": test}
        self.text_column = text_column
        self.tokenizer_name = tokenizer
        self.block_size = block_size
        self.batch_size = batch_size
        self.mask_documents = mask_documents
        self.num_workers = num_workers
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0")) if seed is None else seed
        self.cache_dir = Path(cache_dir).expanduser()
        self._blocks: dict[Split, PackedBlocks] = {}

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, loaded or made from the training text."""

        def texts() -> Iterator[str]:
            return (
                piece.text for piece in read_texts(self._source("train"), split="train", text_column=self.text_column)
            )

        def text_fingerprint() -> str:
            return fingerprint(self._source("train"), split="train") + self.text_column

        return build_tokenizer(self.tokenizer_name, texts, self.cache_dir, text_fingerprint)

    @property
    def vocab_size(self) -> int:
        """Ids of the tokenizer."""
        return self.tokenizer.vocab_size

    # --- Lightning's hooks

    def prepare_data(self) -> None:
        """Tokenise what the run will need, on one process; what is wrong with it shows before the run has a folder."""
        for split in self._splits_of_run():
            self._open(split, progress=True)

    def setup(self, stage: str) -> None:
        """Open the tokens, and cut them into blocks."""
        self._blocks = {split: self._open(split) for split in self._splits_of_run()}

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled blocks, from the trainer's position on."""
        return self._loader("train")

    def val_dataloader(self) -> ResumableLoader | list[Any]:
        """All of the validation text, in order."""
        return self._loader("validation") if "validation" in self._blocks else []

    def test_dataloader(self) -> ResumableLoader:
        """All of the test text, in order."""
        return self._loader("test")

    def predict_dataloader(self) -> ResumableLoader:
        """All of the test text, in order."""
        return self._loader("test")

    # --- ours

    def stream(self, split: Split) -> TokenStream:
        """The tokens of a split that ``setup`` has opened."""
        return self._blocks[split].stream

    def _splits_of_run(self) -> list[Split]:
        """The splits that the trainer's function reads."""
        assert self.trainer is not None
        assert self.trainer.state.fn is not None
        fitting: list[Split] = ["train", "validation"] if self.sources["validation"] else ["train"]
        splits: dict[str, list[Split]] = {"fit": fitting, "validate": ["validation"]}
        return splits.get(self.trainer.state.fn.value, ["test"])

    def _source(self, split: Split) -> Source:
        source = self.sources[split]
        if not source:
            raise InputError(f"no {split} text: give it with --data.{split}=FILE")
        return source

    def _open(self, split: Split, progress: bool = False) -> PackedBlocks:
        folder = tokenise(
            self._source(split),
            split=split,
            text_column=self.text_column,
            tokenizer=self.tokenizer,
            cache_dir=self.cache_dir,
            progress=progress,
        )
        return PackedBlocks(
            TokenStream(folder),
            block_size=self.block_size,
            token_bytes=self.tokenizer.token_bytes,
            end_of_text_id=self.tokenizer.end_of_text_id,
            mask_documents=self.mask_documents,
            seed=self.seed if split == "train" else None,
        )

    def _loader(self, split: Split) -> ResumableLoader:
        assert self.trainer is not None
        return ResumableLoader(
            self._blocks[split],
            batch_size=self.batch_size,
            position=self._training_position if split == "train" else lambda: (0, 0),
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            num_workers=self.num_workers,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
        )

    def _training_position(self) -> Position:
        """Where the trainer stands: it counts completed batches, and its count is what a checkpoint holds."""
        assert self.trainer is not None
        return self.trainer.current_epoch, self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
