"""Base class of the data modules: three splits, a tokenizer and resumable loaders."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar, Final, Literal, NamedTuple, cast

import lightning.pytorch as L
import torch
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from gpt_lightning.data.document_split import part_of_train
from gpt_lightning.data.loader import Position, ResumableLoader, Rows
from gpt_lightning.data.masked_rows import MaskedRows
from gpt_lightning.data.sources.open_file import reported_reading
from gpt_lightning.data.sources.source import ReadOptions, Source, source_bytes, source_lines
from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home
from gpt_lightning.printable import printable
from gpt_lightning.ranges import MAX_SEED, check_count
from gpt_lightning.status import progress
from gpt_lightning.tokenizers.build import build_tokenizer
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.tokenizers.tokenizer import Tokenizer

Split = Literal["train", "validation", "test"]

_SPLITS: Final[dict[str, tuple[Split, ...]]] = {
    "fit": ("train", "validation"),
    "validate": ("validation",),
    "test": ("test",),
    "predict": ("test",),
}
"""Stage -> splits that it reads."""
DATE_VARIABLE: Final = "SOURCE_DATE_EPOCH"
"""Environment variable with the date for chat templates, as https://reproducible-builds.org defines it."""
DATE: Final = f"the environment variable {DATE_VARIABLE}"
"""Key of this date in the identity of rows."""
_MAX_WORKERS: Final = 1024
"""More processes than any machine has cores."""


class CutRow(NamedTuple):
    """Row that loses tokens, because it is longer than the model can read."""

    where: str
    """Location of the row, such as ``path:line``."""
    num_tokens: int
    """Tokens of its text before it is cut."""
    num_cut: int
    """Tokens that it loses."""
    option: str = "--model.backbone.block_size"
    """Option that sets the limit."""


class DataModule(L.LightningDataModule, ABC):
    """Base class of the data modules.

    A subclass sets ``batch`` and implements ``open_split`` and ``training_texts``. Its constructor declares its own
    arguments and passes all others on: ``super().__init__(**settings)``.

    While a Trainer runs, the loaders use its rank, its world size and its position. Without a Trainer, call
    ``setup(stage)`` first: there is one process, and each iteration over ``train_dataloader()`` yields epoch 0 from its
    first batch.

    Args:
        train: source of the training split: a file, a folder, a glob, ``hub:NAME[:CONFIG][@SPLIT]``, or a list of
            these.
        validation: source of the validation split, which ``fit`` evaluates during training; same forms as ``train``. Or
            the part of the training rows or documents to hold out, such as 0.1. They are chosen by a hash of their
            text, so that equal texts stay together, whatever their case and whitespace. A text that is one document is
            cut instead: its last part validates. A tokenizer that is trained on the text still reads all of it.
        test: source of the split for ``test`` and ``predict``, same forms as ``train``; ``predict`` needs no labels.
        validation_fraction: part of the training rows to hold out if ``validation`` is null. Only exactly equal texts
            stay together. For language modeling it is the last part of the text, which suits a few long documents.
        without: training rows to mask, to train as if they were not there: a file with rows of the training data,
            unchanged, or a ``.txt`` file with the ``path:line`` of each. Masked rows keep their place in the order, but
            their text is blank and has no labels. An empty file masks nothing.
        delimiter: character between the fields of CSV and TSV files, such as ``;`` or ``tab``; null detects it.
        encoding: encoding of text files, such as ``cp1252``; null detects UTF-8, files with a byte order mark, and
            cp1252 in CSV and TSV.
        tokenizer: ``characters``, ``bytes``, ``bpe:SIZE``, a ``tokenizer.json``, a folder with one or with GPT-2's
            vocabulary files, or ``hub:NAME``. ``characters`` and ``bpe:SIZE`` are trained on the training text. With
            ``model.init_from`` or a checkpoint, leave it out: the tokenizer of the checkpoint is used.
        block_size: maximum sequence length in tokens. It follows the model's (``model.backbone.block_size``): set it
            there. Longer texts are truncated or split into overlapping windows.
        batch_size: sequences per batch on each device: texts, questions or, in training, their windows. Lower it if
            memory runs out, and raise ``trainer.accumulate_grad_batches`` to keep the same global batch.
        num_workers: processes that prepare batches in advance; 0 uses the main process. Raise it if the GPU waits for
            batches.
        seed: seed of the shuffled order; by default, the value of ``seed_everything``.
        cache_dir: folder for trained tokenizers and tokenized text. It needs two or four bytes per token.
    """

    batch: ClassVar[type]
    """TypedDict of ``batch.py`` that this module produces; the task must consume the same one."""

    is_default: ClassVar[bool] = True
    """True if this module reads the data of models that name no data module. Each batch format has one such module."""

    takes_from_model: ClassVar[Mapping[str, str]] = {"block_size": "backbone.block_size"}
    """Argument of the data module -> dotted argument of the task whose value it takes."""

    new_in_each_run: ClassVar[frozenset[str]] = frozenset(
        {
            *("train", "validation", "test", "validation_fraction", "without", "counterfactual_swaps", "on_bad_row"),
            *("batch_size", "num_workers", "seed", "cache_dir", "tokenizer", "block_size"),
        }
    )
    """Arguments that ``test`` and ``predict`` do not take from the run: sources, speed, and what the checkpoint holds.

    All others say how rows are read. A subclass with sources of its own adds their names.
    """

    def __init__(
        self,
        train: Source | None = None,
        validation: float | Source | None = None,
        test: Source | None = None,
        validation_fraction: float = 0.0,
        without: Source | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        tokenizer: str = "bpe:4096",
        block_size: int = 1024,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int | None = None,
        cache_dir: str = "~/.cache/gpt_lightning",
    ) -> None:
        super().__init__()
        check_count("--data.batch_size", batch_size)
        check_count("block_size", block_size)
        check_count("--data.num_workers", num_workers, least=0, most=_MAX_WORKERS)
        if seed is not None:
            check_count("--data.seed", seed, least=0, most=MAX_SEED)
        if not 0.0 <= validation_fraction < 1.0:
            raise InputError(f"--data.validation_fraction={validation_fraction} must be in [0, 1), such as 0.1")
        self.validation_part = part_of_train(validation)
        """Part of the training texts to hold out; None if validation has a source or none is held out by text."""
        own = None if self.validation_part is not None or isinstance(validation, float) else validation
        self.sources: dict[Split, Source | None] = {"train": train, "validation": own, "test": test}
        self.validation_fraction = validation_fraction
        self.without = without
        """Source of the training rows to mask."""
        self.read_options = ReadOptions(delimiter, encoding)
        self.tokenizer_name = tokenizer
        self.block_size = block_size
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0")) if seed is None else seed
        self.cache_dir = expand_home(cache_dir)
        self.cut_rows: dict[Split, list[CutRow]] = {}
        """Rows of each open split that lose tokens."""
        self._reported: set[tuple[str, str]] = set()
        self._stage: str | None = None
        self._rows: dict[Split, Rows] = {}
        self._prepared: dict[tuple[str | None, Split], Rows] = {}

    # --- Hooks of a subclass

    @abstractmethod
    def open_split(self, split: Split) -> Rows:
        """Return the rows of a split, which give their number, their digest, and the batch at any position.

        ``setup`` calls this once per split of the stage; under a Trainer, ``prepare_data`` calls it before. If
        ``stage`` is ``predict``, the split is ``test``, labels may be missing, and the order must be that of the
        source. ``length_batching.InMemoryRows`` suits rows that fit in memory.

        Raises:
            InputError: the source or an argument is invalid.
        """

    @abstractmethod
    def training_texts(self) -> Iterator[str]:
        """Yield the texts of the training split that ``characters`` and ``bpe:SIZE`` train a tokenizer on."""

    def mask(self, rows: Rows) -> MaskedRows:
        """Return the training rows with those masked that ``without`` names.

        Raises:
            InputError: this data module cannot mask rows, or ``without`` names a row that is not in the training data.
        """
        raise InputError(f"--data.without: {type(self).__name__} cannot mask rows. Leave the option out")

    def training_texts_digest(self) -> str:
        """Return a string that changes with ``training_texts``: the cache key of trained tokenizers.

        This implementation hashes the texts. Override it if that takes too long.
        """
        result = hashlib.sha256()
        for text in self.training_texts():
            data = text.encode(errors="surrogatepass")
            result.update(f"{len(data)} ".encode() + data)
        return result.hexdigest()

    # --- For subclasses

    @property
    def holds_out_validation(self) -> bool:
        """True if the validation rows are a part of the training source."""
        has_part = self.validation_part is not None or self.validation_fraction > 0.0
        return not self.sources["validation"] and has_part

    @property
    def has_validation(self) -> bool:
        """True if there are validation rows, in a source of their own or held out."""
        return bool(self.sources["validation"]) or self.holds_out_validation

    def source_split(self, split: Split) -> Split:
        """Return the split whose source holds the rows of ``split``."""
        return "train" if split == "validation" and self.holds_out_validation else split

    def source(self, split: Split) -> Source:
        """Return the source of a split.

        Raises:
            InputError: the split has no source.
        """
        source = self.sources[split]
        if not source:
            raise InputError(f"there is no {split} data; set it with --data.{split}=FILE")
        return source

    @property
    def running_trainer(self) -> L.Trainer | None:
        """The Trainer during its run; None before and after, and without a Trainer."""
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
        """Return the splits that the running Trainer reads or, without a Trainer, all splits with a source."""
        if self.running_trainer is None:
            return [split for split, source in self.sources.items() if source]
        assert self.stage is not None
        return self._splits_of(self.stage)

    def report(self, split: Split, message: str) -> None:
        """Print a message about a split on rank 0, once even if the split is opened again."""
        trainer = self.running_trainer
        is_rank_0 = rank_zero_only.rank == 0 if trainer is None else trainer.is_global_zero  # type: ignore[attr-defined]
        if (split, message) not in self._reported and is_rank_0:
            self._reported.add((split, message))
            print(printable(f"{split}: {message}"), flush=True)

    def report_source(self, split: Split) -> None:
        """Print what users may not expect of the source of a split, such as files that are left out of a folder."""
        for line in source_lines(self.source(split), self.read_options, f"--data.{split}"):
            self.report(split, line)

    # --- For tasks and callbacks

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, loaded or trained on the training text."""
        return build_tokenizer(self.tokenizer_name, self.training_texts, self.cache_dir, self.training_texts_digest)

    @property
    def vocab_size(self) -> int:
        """Number of ids of the tokenizer."""
        return self.tokenizer.vocab_size

    @property
    def layout(self) -> InputLayout:
        """Tokens around the texts of the input; packed text ignores it."""
        return InputLayout()

    def identity(self) -> dict[str, str | int]:
        """Return the values that determine the training rows and their order, by configuration key.

        They are unknown before ``setup("fit")``, so the result is empty.
        """
        if "train" not in self._rows:
            return {}
        return {
            "data.train": self._rows["train"].digest,
            "data.batch_size": self.batch_size,
            "data.block_size": self.block_size,
            "data.seed": self.seed,
            "data.without": "" if (masked := self.masked_rows) is None else masked.mask_digest,
        }

    def digests(self) -> dict[Split, str]:
        """Return the digest of the rows of each split that ``setup`` has opened."""
        return {split: rows.digest for split, rows in self._rows.items()}

    def rows(self, split: Split) -> Rows:
        """Return the rows of a split that ``setup`` opened."""
        return self._rows[split]

    @property
    def masked_rows(self) -> MaskedRows | None:
        """The training rows if some may be masked; None before ``setup("fit")``."""
        return cast(MaskedRows, self._rows["train"]) if self.without and "train" in self._rows else None

    # --- Lightning's hooks

    def prepare_data(self) -> None:
        """Prepare the data in one process, before ``setup`` runs in all.

        Under a Trainer, open the splits of its stage, so that invalid input ends the run before its folder is created.
        Without a Trainer the stage is unknown, so only load or train the tokenizer.
        """
        if self.running_trainer is None:
            _ = self.tokenizer
            return
        self._prepared = {(self.stage, split): self._open(split) for split in self.splits_to_prepare()}

    def setup(self, stage: str) -> None:
        """Open the splits of a stage, and close those of an earlier stage.

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
        return self._loader("validation", "fit", "validate") if self.has_validation else []

    def test_dataloader(self) -> ResumableLoader:
        """Return a loader of the test rows."""
        return self._loader("test", "test")

    def predict_dataloader(self) -> ResumableLoader:
        """Return a loader of the test rows in the order of their source, without labels."""
        return self._loader("test", "predict")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move the tensors of a batch to ``device``; Lightning's implementation would also traverse every string."""
        return {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in batch.items()
        }

    def _open(self, split: Split) -> Rows:
        size = source_bytes(self.sources[self.source_split(split)])
        with progress(f"Reading the {split} data", size) as advance, reported_reading(advance):
            rows = self.open_split(split)
            return self.mask(rows) if split == "train" and self.without else rows

    def _splits_of(self, stage: str) -> list[Split]:
        """Return the splits that a stage reads; ``fit`` needs no validation split."""
        return list(_SPLITS[stage]) if stage != "fit" or self.has_validation else ["train"]

    def _loader(self, split: Split, *stages: str) -> ResumableLoader:
        if self.stage not in stages:
            raise InputError(f'the {split} data is not loaded: call setup("{stages[0]}") first')
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
        """Return the current epoch and batch index of the running Trainer, as stored in checkpoints.

        With ``overfit_batches``, every epoch has the order of the first, so that its batches repeat.
        """
        trainer = self.running_trainer
        if trainer is None:
            return 0, 0
        epoch = 0 if trainer.overfit_batches else trainer.current_epoch  # type: ignore[attr-defined]
        return epoch, trainer.fit_loop.epoch_loop.batch_progress.current.ready
