"""Base class of the data modules: sources of three splits, one tokenizer, resumable loaders."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import lightning.pytorch as L
import torch
from lightning.pytorch.trainer.states import TrainerStatus
from torch import Tensor

from gpt_lightning.data.loader import Position, ResumableLoader, Rows
from gpt_lightning.data.sources.source import Source
from gpt_lightning.errors import InputError
from gpt_lightning.status import status
from gpt_lightning.tokenizers.build import build_tokenizer
from gpt_lightning.tokenizers.tokenizer import Tokenizer

Split = Literal["train", "validation", "test"]

_SPLITS: Final[dict[str, tuple[Split, ...]]] = {
    "fit": ("train", "validation"),
    "validate": ("validation",),
    "test": ("test",),
    "predict": ("test",),
}
"""Stage -> the splits that it reads."""


class DataModule(L.LightningDataModule, ABC):
    """Base class of the data modules: from sources to batches.

    A subclass sets ``batch`` and implements ``open_split`` and ``training_texts``. Its constructor takes arguments of
    its own and relays the others: ``super().__init__(**settings)``.

    While a Trainer runs, loaders follow its rank, its world size and its position. Without one, after ``setup(stage)``,
    there is one process, and each iteration over ``train_dataloader()`` yields epoch 0 from its first batch.

    Args:
        train: source of the training split: a file, a folder, a glob, ``hub:NAME[:CONFIG][@SPLIT]``, or a list.
        validation: source of the split that is evaluated during training.
        test: source of the split for ``test`` and ``predict``; ``predict`` needs no labels.
        tokenizer: ``characters``, ``bytes``, ``bpe:SIZE`` (the first and the last are trained on the training text), a
            ``tokenizer.json``, a folder that holds one or GPT-2's vocabulary files, or ``hub:NAME``.
        block_size: length of the longest sequence in tokens; follows the model's. Longer texts are truncated or split
            into overlapping windows.
        batch_size: sequences per batch on each device: texts, questions or, in training, their windows.
        num_workers: processes that prepare batches in advance; 0 uses the main process.
        seed: seed of the shuffled order; None takes ``seed_everything``.
        cache_dir: folder for trained tokenizers and tokenized text.
    """

    batch: ClassVar[type]
    """The TypedDict of ``batch.py`` that this module produces; the task must read the same one."""

    takes_from_model: ClassVar[Mapping[str, str]] = {"block_size": "backbone.block_size"}
    """Argument of the data module -> argument of the task, with dots, whose value it takes."""

    def __init__(
        self,
        train: Source | None = None,
        validation: Source | None = None,
        test: Source | None = None,
        tokenizer: str = "bpe:4096",
        block_size: int = 1024,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int | None = None,
        cache_dir: str = "~/.cache/gpt_lightning",
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
        self._stage: str | None = None
        self._rows: dict[Split, Rows] = {}
        self._prepared: dict[tuple[str | None, Split], Rows] = {}

    # --- Hooks of a subclass

    @abstractmethod
    def open_split(self, split: Split) -> Rows:
        """Return the rows of a split: their number, their digest, and a batch for any indices of any epoch.

        ``setup`` calls this once per split of the stage, and under a Trainer ``prepare_data`` does so before. When
        ``stage`` is ``predict``, the split is ``test``, labels may be missing, and the order is that of the source.
        ``length_batching.InMemoryRows`` suits rows that fit in memory.

        Raises:
            InputError: the user can fix something in the source or the arguments.
        """

    @abstractmethod
    def training_texts(self) -> Iterator[str]:
        """Yield the texts of the training split that ``characters`` and ``bpe:SIZE`` train a tokenizer on."""

    def training_texts_digest(self) -> str:
        """Return a string that changes whenever ``training_texts`` does: trained tokenizers are cached under it.

        This one hashes the texts. Override it where that takes long.
        """
        result = hashlib.sha256()
        for text in self.training_texts():
            data = text.encode(errors="surrogatepass")
            result.update(f"{len(data)} ".encode() + data)
        return result.hexdigest()

    # --- For subclasses

    def source(self, split: Split) -> Source:
        """Return the source of a split.

        Raises:
            InputError: the split has no source.
        """
        source = self.sources[split]
        if not source:
            raise InputError(f"no {split} data: give it with --data.{split}=FILE")
        return source

    @property
    def running_trainer(self) -> L.Trainer | None:
        """The Trainer while it runs; None without one and after its run."""
        trainer = self.trainer
        return trainer if trainer is not None and trainer.state.status == TrainerStatus.RUNNING else None

    @property
    def stage(self) -> str | None:
        """Function of the running Trainer (``fit``, ``validate``, ``test``, ``predict``) or the stage of ``setup``."""
        trainer = self.running_trainer
        if trainer is None:
            return self._stage
        assert trainer.state.fn is not None
        return trainer.state.fn.value

    def splits_to_prepare(self) -> list[Split]:
        """Return the splits that the running Trainer reads or, without one, all that have a source."""
        if self.running_trainer is None:
            return [split for split, source in self.sources.items() if source]
        assert self.stage is not None
        return self._splits_of(self.stage)

    # --- What tasks and callbacks ask for

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, loaded or trained on the training text."""
        return build_tokenizer(self.tokenizer_name, self.training_texts, self.cache_dir, self.training_texts_digest)

    @property
    def vocab_size(self) -> int:
        """Number of ids of the tokenizer."""
        return self.tokenizer.vocab_size

    def identity(self) -> dict[str, str | int]:
        """Return what decides the rows of training and their order: configuration key -> value.

        Call it after ``setup("fit")``.
        """
        return {
            "data.train": self._rows["train"].digest,
            "data.batch_size": self.batch_size,
            "data.block_size": self.block_size,
            "data.seed": self.seed,
        }

    # --- Lightning's hooks

    def prepare_data(self) -> None:
        """Prepare, on one process, what ``setup`` reads.

        Under a Trainer, open the splits of its stage, so that invalid input ends the run before it has a folder.
        Without one the stage is unknown: only load or train the tokenizer.
        """
        if self.running_trainer is None:
            _ = self.tokenizer
            return
        self._prepared = {(self.stage, split): self._open(split) for split in self.splits_to_prepare()}

    def setup(self, stage: str) -> None:
        """Open the splits of a stage; those of an earlier stage are closed.

        Args:
            stage: ``fit`` (training and, if it has a source, validation), ``validate``, ``test`` or ``predict`` (both
                read the test split).

        Raises:
            InputError: the stage is unknown, or a split cannot be read.
        """
        if stage not in _SPLITS:
            raise InputError(f"setup(stage={stage!r}): the stage is unknown; choose one of {', '.join(_SPLITS)}")
        prepared, self._prepared = self._prepared, {}
        self._stage = stage
        self._rows = {split: prepared.get((stage, split)) or self._open(split) for split in self._splits_of(stage)}

    def train_dataloader(self) -> ResumableLoader:
        """Return a loader of the shuffled training rows that starts at the running Trainer's position."""
        return self._loader("train", "fit")

    def val_dataloader(self) -> ResumableLoader | list[Any]:
        """Return a loader of the validation rows; an empty list if they have no source."""
        return self._loader("validation", "fit", "validate") if self.sources["validation"] else []

    def test_dataloader(self) -> ResumableLoader:
        """Return a loader of the test rows."""
        return self._loader("test", "test")

    def predict_dataloader(self) -> ResumableLoader:
        """Return a loader of the test rows in the order of their source, without labels."""
        return self._loader("test", "predict")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move the tensors of a batch to ``device``; Lightning's version would search every string for tensors."""
        return {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in batch.items()
        }

    def _open(self, split: Split) -> Rows:
        with status(f"Reading the {split} data"):
            return self.open_split(split)

    def _splits_of(self, stage: str) -> list[Split]:
        """Return the splits that a stage reads; ``fit`` needs no validation split."""
        is_without_validation = stage == "fit" and not self.sources["validation"]
        return ["train"] if is_without_validation else list(_SPLITS[stage])

    def _loader(self, split: Split, *stages: str) -> ResumableLoader:
        if self.stage not in stages:
            raise InputError(f'the {split} rows are not open for {stages[0]}: call setup("{stages[0]}") first')
        trainer = self.running_trainer
        return ResumableLoader(
            self._rows[split],
            batch_size=self.batch_size,
            position=self._training_position if split == "train" else lambda: (0, 0),
            rank=0 if trainer is None else trainer.global_rank,
            world_size=1 if trainer is None else trainer.world_size,
            num_workers=self.num_workers,
            pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
        )

    def _training_position(self) -> Position:
        """Return the running Trainer's count of completed epochs and batches, which a checkpoint holds."""
        trainer = self.running_trainer
        if trainer is None:
            return 0, 0
        return trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_progress.current.ready
