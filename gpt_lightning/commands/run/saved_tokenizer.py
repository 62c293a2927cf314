"""Tokenizer of a checkpoint, and its place among the tokenizers of a run."""

import hashlib
from pathlib import Path
from typing import Any

from gpt_lightning.checkpoints.run_folder import run_of
from gpt_lightning.commands.run.value_layers import Values
from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home
from gpt_lightning.tasks.load import saved_tokenizer
from gpt_lightning.tokenizers.build import bytes_tokenizer, load_tokenizer
from gpt_lightning.tokenizers.tokenizer import Tokenizer


def tokenizer_in(path: Path, checkpoint: dict[str, Any]) -> Tokenizer | None:
    """Return the tokenizer in the content of a checkpoint; None if it has none."""
    return saved_tokenizer(path, checkpoint) if "tokenizer" in checkpoint else None


def is_built(tokenizer: str) -> bool:
    """Return whether a tokenizer is built from the training text. A checkpoint makes this unnecessary."""
    return tokenizer == "characters" or tokenizer.startswith("bpe:")


def refuse_other_tokenizer(wanted: str, trained_with: Tokenizer, path: Path) -> None:
    """Refuse the user's tokenizer if it encodes texts differently from the tokenizer of the checkpoint.

    Raises:
        InputError: the tokenizers differ.
    """
    tokenizer = bytes_tokenizer() if wanted == "bytes" else load_tokenizer(wanted)
    if not tokenizer.encodes_like(trained_with):
        raise InputError(
            f"--data.tokenizer={wanted} ({tokenizer.vocab_size} tokens) differs from the tokenizer of {path} "
            f"({trained_with.kind}, {trained_with.vocab_size} tokens). "
            "Leave the option out to use the tokenizer of the checkpoint"
        )


def tokenizer_file(checkpoint: Path, tokenizer: Tokenizer, values: Values) -> str:
    """Return the ``tokenizer.json`` of the checkpoint's folder, or one in the cache if the folder has none."""
    folder = checkpoint if checkpoint.is_dir() else run_of(checkpoint)
    file = None if folder is None else folder / "tokenizer.json"
    if file is not None and file.is_file() and load_tokenizer(str(file)).to_json() == tokenizer.to_json():
        return str(file)
    cache_dir = values.get("data.init_args.cache_dir")
    cache = expand_home("~/.cache/gpt_lightning" if cache_dir is None else cache_dir.value)
    digest = hashlib.sha256(tokenizer.to_json().encode()).hexdigest()
    file = cache / "tokenizers" / digest / "tokenizer.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(file)
    return str(file)
