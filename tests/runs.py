"""Small real training runs, for tests."""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Checkpoint

from gpt_lightning.data import LanguageModeling
from gpt_lightning.models import GPTConfig
from gpt_lightning.optim import AdamWConfig, Schedule
from gpt_lightning.tasks import CausalLM
from gpt_lightning.training import RandomnessByPosition

TINY = GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=8, dropout=0.1)


def write_text(folder: Path, repeats: int = 3) -> Path:
    """A little text with some order in it."""
    path = folder / "text.txt"
    path.write_text("".join(f"{n} bottles of beer on the wall, {n} bottles of beer.\n" for n in range(repeats)))
    return path


def language_modeling(folder: Path, **arguments: Any) -> LanguageModeling:
    """A data module over ``write_text``'s file, cached below ``folder``."""
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
    """A tiny model, the same one each time."""
    L.seed_everything(0, verbose=False)
    backbone = GPTConfig(**({"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 8, "dropout": 0.1} | shape))
    return CausalLM(backbone, vocab_size, AdamWConfig(lr=1e-2), Schedule(kind="constant", warmup_steps=2))


def trainer(folder: Path, **arguments: Any) -> L.Trainer:
    """A quiet trainer on the CPU, without a logger."""
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
