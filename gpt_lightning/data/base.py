"""What all data modules share: sources for three splits, one tokenizer, loaders that start where the trainer stands."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning.pytorch as L
import torch
from torch import Tensor

from gpt_lightning.data.loader import Position, ResumableLoader, Rows
from gpt_lightning.data.sources.source import Source, fingerprint
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.build import build_tokenizer
from gpt_lightning.tokenizers.tokenizer import Tokenizer

Split = Literal["train", "validation", "test"]


class DataModule(L.LightningDataModule, ABC):
    """Sources -> tokens -> batches. A data module says how a split becomes rows; everything else is here.

    Args:
        train: source of what is learned from.
        validation: source of what is judged during training.
        test: source of what is judged at the end, or predicted.
        tokenizer: as ``build_tokenizer`` takes it.
        block_size: the longest sequence, in tokens.
        batch_size: rows of a batch on each device.
        num_workers: processes that prepare batches ahead.
        seed: decides the order; None takes ``seed_everything``.
        cache_dir: where tokens and trained tokenizers are kept.
    """

    batch: ClassVar[type]
    """The TypedDict of ``batch.py`` that this module makes; a task that reads another one does not go with it."""

    takes_from_model: ClassVar[Mapping[str, str]] = {"block_size": "backbone.block_size"}
    """Argument of the data module -> argument of the task, with dots, whose value it takes."""

    def __init__(
        self,
        train: Source | None,
        validation: Source | None,
        test: Source | None,
        tokenizer: str,
        block_size: int,
        batch_size: int,
        num_workers: int,
        seed: int | None,
        cache_dir: str,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"--data.batch_size={batch_size} must be at least 1")
        self.sources: dict[Split, Source | None] = {"train": train, "validation": validation, "test": test}
        self.tokenizer_name = tokenizer
        self.block_size = block_size
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0")) if seed is None else seed
        self.cache_dir = Path(cache_dir).expanduser()
        self._rows: dict[Split, Rows] = {}
        self._prepared: dict[tuple[str, Split], Rows] = {}

    @abstractmethod
    def _open(self, split: Split) -> Rows:
        """The rows of a split, ready to be drawn from."""

    @abstractmethod
    def _training_texts(self) -> Iterator[str]:
        """What a tokenizer is made from."""

    @abstractmethod
    def _text_columns(self) -> str:
        """What decides, beside the source, which texts those are: another answer, another tokenizer."""

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, loaded or made from the training text."""

        def text_fingerprint() -> str:
            return fingerprint(self._source("train"), split="train") + self._text_columns()

        return build_tokenizer(self.tokenizer_name, self._training_texts, self.cache_dir, text_fingerprint)

    @property
    def vocab_size(self) -> int:
        """Ids of the tokenizer."""
        return self.tokenizer.vocab_size

    def identity(self) -> dict[str, str | int]:
        """What decides which rows training sees, and in which order: key of the configuration -> value.

        ``setup`` has been called.
        """
        return {
            "data.train": self._rows["train"].digest,
            "data.batch_size": self.batch_size,
            "data.block_size": self.block_size,
            "data.seed": self.seed,
        }

    # --- Lightning's hooks

    def prepare_data(self) -> None:
        """Open what the run will read, so that what is wrong with it shows before the run has a folder."""
        self._prepared = {(self._function, split): self._open(split) for split in self._splits_of_run()}

    def setup(self, stage: str) -> None:
        """Open what the run will read."""
        prepared, self._prepared = self._prepared, {}
        self._rows = {
            split: prepared.get((self._function, split)) or self._open(split) for split in self._splits_of_run()
        }

    def train_dataloader(self) -> ResumableLoader:
        """The training rows, shuffled, from the trainer's position on."""
        return self._loader("train")

    def val_dataloader(self) -> ResumableLoader | list[Any]:
        """All of the validation rows."""
        return self._loader("validation") if "validation" in self._rows else []

    def test_dataloader(self) -> ResumableLoader:
        """All of the test rows."""
        return self._loader("test")

    def predict_dataloader(self) -> ResumableLoader:
        """All of the test rows, in order."""
        return self._loader("test")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """The batch with its tensors on ``device``; Lightning would look for some in every name of a row."""
        return {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in batch.items()
        }

    # --- ours

    @property
    def _function(self) -> str:
        """What the trainer is doing: ``fit``, ``validate``, ``test`` or ``predict``."""
        assert self.trainer is not None
        assert self.trainer.state.fn is not None
        return self.trainer.state.fn.value

    def _splits_of_run(self) -> list[Split]:
        """The splits that the trainer's function reads."""
        fitting: list[Split] = ["train", "validation"] if self.sources["validation"] else ["train"]
        splits: dict[str, list[Split]] = {"fit": fitting, "validate": ["validation"]}
        return splits.get(self._function, ["test"])

    def _source(self, split: Split) -> Source:
        source = self.sources[split]
        if not source:
            raise InputError(f"no {split} data: give it with --data.{split}=FILE")
        return source

    def _loader(self, split: Split) -> ResumableLoader:
        assert self.trainer is not None
        return ResumableLoader(
            self._rows[split],
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
