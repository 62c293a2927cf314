"""Small models, data modules and trainers for training runs in tests."""

import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Checkpoint

from gpt_lightning.data import (
    LanguageModeling,
    ReadingComprehension,
    SequenceTagging,
    TextClassification,
    TextRegression,
)
from gpt_lightning.data.base import DataModule
from gpt_lightning.models import GPTConfig
from gpt_lightning.optim import OptimizerConfig, Schedule
from gpt_lightning.tasks import (
    CausalLM,
    QuestionAnswering,
    SequenceClassification,
    SequenceRegression,
    Task,
    TokenClassification,
)
from gpt_lightning.toy_world.write import SPLITS, write
from gpt_lightning.training import RandomnessByPosition

TINY = GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=8, dropout=0.1)


def write_text(folder: Path, repeats: int = 3) -> Path:
    """Write a short, repetitive text to ``folder`` and return its path."""
    path = folder / "text.txt"
    path.write_text("".join(f"{n} bottles of beer on the wall, {n} bottles of beer.\n" for n in range(repeats)))
    return path


def language_modeling(folder: Path, **arguments: Any) -> LanguageModeling:
    """Return a data module for the file of ``write_text``, with its cache in ``folder``."""
    text = str(write_text(folder))
    defaults: dict[str, Any] = {
        "train": text,
        "validation": text,
        "tokenizer": "bytes",
        "block_size": 8,
        "batch_size": 4,
        "cache_dir": str(folder / "cache"),
        "seed": 0,
    }
    return LanguageModeling(**(defaults | arguments))


def causal_lm(vocab_size: int = 257, **shape: Any) -> CausalLM:
    """Return a tiny language model with fixed initial weights."""
    L.seed_everything(0, verbose=False)
    backbone = GPTConfig(**({"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 8, "dropout": 0.1} | shape))
    return CausalLM(
        backbone=backbone,
        vocab_size=vocab_size,
        optimizer=OptimizerConfig(lr=1e-2),
        schedule=Schedule(kind="constant", warmup_steps=2),
    )


HEADS: dict[str, tuple[Any, Any]] = {
    "classification": (SequenceClassification, TextClassification),
    "ner": (TokenClassification, SequenceTagging),
    "liking": (SequenceRegression, TextRegression),
    "qa": (QuestionAnswering, ReadingComprehension),
}
"""Dataset of the toy world -> its task and data module."""


def toy_rows(folder: Path, kind: str, rows: int) -> Path:
    """Return a file with the first validation rows of a dataset of the toy world.

    It is in ``folder``, and is written if it is missing. The whole toy world takes 30 times as long to write.
    """
    source = folder / f"{kind}-{rows}.jsonl"
    if not source.exists():
        world = folder / f"world-{rows}"
        write(world, counts=dict.fromkeys(SPLITS, 1) | {"labeled/validation": rows})
        for each in HEADS:
            shutil.copy(world / each / "validation.jsonl", folder / f"{each}-{rows}.jsonl")
    return source


def head(folder: Path, kind: str, rows: int = 30, batch_size: int = 4, **shape: Any) -> tuple[Task, DataModule]:
    """Return a tiny bidirectional head with fixed initial weights, and rows of the toy world.

    Some rows are longer than the block size.
    """
    source = toy_rows(folder, kind, rows)
    task_class, data_class = HEADS[kind]
    block_size = 400 if kind in ("classification", "liking") else 128
    data: DataModule = data_class(
        train=str(source),
        validation=str(source),
        test=str(source),
        tokenizer="bytes",
        block_size=block_size,
        batch_size=batch_size,
        cache_dir=str(folder / "cache"),
        seed=0,
    )
    L.seed_everything(0, verbose=False)
    fixed: dict[str, Any] = {
        "n_layer": 1,
        "n_head": 2,
        "n_embd": 16,
        "dropout": 0.1,
        "vocab_size": 257,
        "block_size": block_size,
        "attention": "bidirectional",
    }
    backbone = GPTConfig(**(fixed | shape))
    settings: dict[str, Any] = {"optimizer": OptimizerConfig(lr=1e-2), "schedule": Schedule(kind="constant")}
    if kind in ("classification", "ner"):
        settings["labels"] = data.labels  # type: ignore[attr-defined]
    task: Task = task_class(backbone=backbone, **settings)
    return task, data


def trainer(folder: Path, **arguments: Any) -> L.Trainer:
    """Return a trainer on the CPU, without a logger or console output."""
    callbacks: list[L.Callback] = [RandomnessByPosition(), *arguments.pop("callbacks", [])]
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": any(isinstance(each, Checkpoint) for each in callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "gradient_clip_val": 1.0,
        "default_root_dir": folder,
    }
    return L.Trainer(**(defaults | arguments), callbacks=callbacks)
