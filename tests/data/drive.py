"""Helpers that run data modules without a model, for tests."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn, TrainerStatus
from numpy.typing import NDArray

from gpt_lightning.data.base import DataModule
from gpt_lightning.metrics.entity_f1 import entities
from gpt_lightning.tokenizers.build import bytes_tokenizer, train_bpe, train_characters
from gpt_lightning.tokenizers.tokenizer import Tokenizer

HARD_TEXTS = [
    "  Zoe\u0308 vive à São Paulo\r\navec 👩‍👩‍👧 et 🏳️‍🌈.",
    "東京で会いました。カナは 大阪 に 行った",
    "\r\n\r\nAnna\tlives in New\u00a0York, 👍🏽 since 1999…  ",
    "한국 사람 12,5 % e\u0301\u0323clair o\u0302 \u200b 🇩🇪🇫🇷",
    "word",
    " x",
    "the end of the end of the end, and then a long, long tail of plain words until it ends",
]
TOKENIZERS = ["characters", "bytes", "bpe"]


def make_tokenizer(kind: str, texts: Iterable[str] = HARD_TEXTS) -> Tokenizer:
    """Return a tokenizer of one of the kinds in ``TOKENIZERS``, trained on ``texts``."""
    if kind == "bytes":
        return bytes_tokenizer()
    return train_characters(texts) if kind == "characters" else train_bpe(texts, 400)


def save_tokenizer(folder: Path, kind: str) -> str:
    """Save such a tokenizer and return the path of its file."""
    path = folder / "tokenizer.json"
    make_tokenizer(kind).save(path)
    return str(path)


def write_rows(path: Path, rows: Iterable[object]) -> str:
    """Write rows as JSON Lines and return the path."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def attach(
    module: DataModule, function: str, *, rank: int = 0, world_size: int = 1, position: tuple[int, int] = (0, 0)
) -> None:
    """Attach a stand-in for a Trainer that runs ``function`` and is at ``position`` (epoch, batch)."""
    current = SimpleNamespace(ready=position[1])
    trainer: Any = SimpleNamespace(
        state=SimpleNamespace(fn=TrainerFn(function), status=TrainerStatus.RUNNING),
        global_rank=rank,
        world_size=world_size,
        is_global_zero=rank == 0,
        limit_val_batches=1.0,
        limit_test_batches=1.0,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        current_epoch=position[0],
        overfit_batches=0.0,
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(current=current))),
    )
    module.trainer = trainer


def batches(
    module: DataModule, function: str, *, rank: int = 0, world_size: int = 1, position: tuple[int, int] = (0, 0)
) -> list[Any]:
    """Return the training batches for ``fit``, and the batches of their split for the other functions."""
    attach(module, function, rank=rank, world_size=world_size, position=position)
    if rank == 0:
        module.prepare_data()
    module.setup(function)
    loaders = {
        "fit": module.train_dataloader,
        "validate": module.val_dataloader,
        "test": module.test_dataloader,
        "predict": module.predict_dataloader,
    }
    return list(loaders[function]())


def tags_to_spans(tags: Sequence[str], words: Sequence[tuple[int, int]]) -> list[tuple[int, int, str]]:
    """Return the spans of text that tags encode, computed by the entity metric."""
    return [(words[first][0], words[stop - 1][1], label) for label, first, stop in entities(tags)]


def token_span(first: int, last: int, offsets: NDArray[np.int64], context: str) -> tuple[int, int]:
    """Return the characters [start, end) of the tokens ``first`` to ``last``, without surrounding whitespace."""
    start, end = int(offsets[first, 0]), int(offsets[last, 1])
    text = context[start:end]
    start += len(text) - len(text.lstrip())
    return start, start + len(text.strip())
