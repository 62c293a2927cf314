"""Pairs of texts for tests of encoder-decoders: each target is its source, reversed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor

from gpt_lightning.batch import IGNORE_INDEX, Seq2SeqBatch
from gpt_lightning.data.base import DataModule, Split
from gpt_lightning.data.length_batching import InMemoryRows, LengthGroupedOrder, SequentialOrder, digest, mask, pad
from gpt_lightning.data.settings import DataSettings
from gpt_lightning.models import GPTConfig
from gpt_lightning.optim import OptimizerConfig, Schedule
from gpt_lightning.tasks import Seq2SeqLM
from gpt_lightning.unpack import Unpack

SHAPE: dict[str, Any] = {
    "n_layer": 1,
    "n_encoder_layer": 1,
    "n_head": 2,
    "n_embd": 16,
    "block_size": 64,
    "dropout": 0.1,
    "position": "rotary",
}


class ReversedLines(DataModule):
    """Lines of a text file with the same lines backwards; sources start and targets end with the end-of-text token."""

    batch: ClassVar[type] = Seq2SeqBatch
    max_new_tokens: ClassVar[int] = 24

    def __init__(self, generate_examples: int = 0, **settings: Unpack[DataSettings]) -> None:
        super().__init__(**settings)
        self.generate_examples = generate_examples

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The end-of-text token."""
        return (self.tokenizer.end_of_text_id,)

    def open_split(self, split: Split) -> InMemoryRows:
        """Return the lines of a split."""
        lines = Path(str(self.source(split))).read_text().splitlines()
        end = self.tokenizer.end_of_text_id
        sources = [np.array([end, *self.tokenizer.encode(line)]) for line in lines]
        targets = [np.array([*self.tokenizer.encode(line[::-1]), end]) for line in lines]

        def collate(indices: list[int], num_padding: int) -> Seq2SeqBatch:
            chosen = [sources[index] for index in indices] + [np.zeros(0, dtype=np.int64)] * num_padding
            wanted = [targets[index] for index in indices] + [np.zeros(0, dtype=np.int64)] * num_padding
            inputs = [np.array([end, *target[:-1]]) for target in wanted]
            num_generated = 0 if split == "train" or self.stage == "predict" else self.generate_examples
            return Seq2SeqBatch(
                input_ids=pad(chosen, 0),
                attention_mask=mask([len(row) for row in chosen]),
                decoder_input_ids=pad(inputs, 0),
                labels=pad([*wanted, np.zeros(1, dtype=np.int64)], IGNORE_INDEX)[:-1],
                num_bytes=torch.tensor([len(row) for row in wanted]),
                ids=[str(index) for index in indices],
                references=[[lines[index][::-1]] for index in indices if index < num_generated],
            )

        lengths = [len(row) for row in sources]
        order = LengthGroupedOrder(lengths, self.batch_size, self.seed) if split == "train" else None
        return InMemoryRows(len(lines), order or SequentialOrder(len(lines)), collate, digest(sources))

    def training_texts(self) -> Iterator[str]:
        """Yield the lines of the training split."""
        yield from Path(str(self.source("train"))).read_text().splitlines()


def write_lines(folder: Path, count: int = 24) -> Path:
    """Write short lines to ``folder`` and return their path."""
    path = folder / "lines.txt"
    path.write_text("".join(f"{number} {'bottles of beer'[: 3 + number % 12]}\n" for number in range(count)))
    return path


def reversed_lines(folder: Path, **arguments: Any) -> ReversedLines:
    """Return the data module for the file of ``write_lines``."""
    path = str(write_lines(folder))
    fixed: dict[str, Any] = dict.fromkeys(("train", "validation", "test"), path)
    fixed |= {"tokenizer": "bytes", "block_size": 64, "batch_size": 4, "cache_dir": str(folder / "cache"), "seed": 0}
    return ReversedLines(**(fixed | arguments))


def seq2seq(vocab_size: int = 257, shape: Mapping[str, Any] = MappingProxyType({}), **arguments: Any) -> Seq2SeqLM:
    """Return a tiny encoder-decoder with fixed initial weights."""
    L.seed_everything(0, verbose=False)
    return Seq2SeqLM(
        backbone=GPTConfig(**{**SHAPE, **shape}),
        vocab_size=vocab_size,
        optimizer=arguments.pop("optimizer", OptimizerConfig(lr=1e-2)),
        schedule=Schedule(kind="constant", warmup_steps=2),
        **arguments,
    )


def pairs(rows: int = 3, sources: int = 7, targets: int = 5, vocab_size: int = 257) -> dict[str, Tensor]:
    """Return a batch of random pairs, the first of which have the full lengths."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.arange(rows)
    target_mask = torch.arange(targets) < (targets - lengths).clamp(min=1)[:, None]
    labels = torch.randint(1, vocab_size, (rows, targets), generator=generator)
    return {
        "input_ids": torch.randint(1, vocab_size, (rows, sources), generator=generator),
        "attention_mask": torch.arange(sources) < (sources - lengths).clamp(min=1)[:, None],
        "decoder_input_ids": torch.cat((labels.new_zeros(rows, 1), labels[:, :-1]), dim=1),
        "labels": labels.masked_fill(~target_mask, IGNORE_INDEX),
        "num_bytes": target_mask.sum(1),
    }
