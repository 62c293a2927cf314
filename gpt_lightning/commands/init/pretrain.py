"""Text without labels: findings and configuration for pretraining a language model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from gpt_lightning.commands import shipped_configs
from gpt_lightning.commands.init import sizes
from gpt_lightning.commands.init.base_model import BaseModel, is_pretrained
from gpt_lightning.commands.init.choice import Choice
from gpt_lightning.commands.init.columns import Columns
from gpt_lightning.commands.init.document import Draft
from gpt_lightning.commands.init.findings import count
from gpt_lightning.commands.init.heads import token_lengths
from gpt_lightning.data import LanguageModeling
from gpt_lightning.data.sources.formats import suffix
from gpt_lightning.data.sources.source import Piece, ReadOptions, read_rows, read_texts, resolve
from gpt_lightning.errors import InputError
from gpt_lightning.tasks import CausalLM

ROLES: Final = ("text",)
_SAMPLE_CHARACTERS: Final = 16_000_000
_COMPRESSION: Final = 3
"""Text is larger than its .gz or .parquet file by about this factor."""
_BLOCKS: Final = (256, 128, 64, 32)
_LEAST_BLOCKS: Final = 20
_NANO_TOKENS: Final = 20_000_000
_PASSES: Final = 10
_STEPS: Final = (200, 2000)
_HELD_OUT_TOKENS: Final = 1_000_000


class Text(NamedTuple):
    """Facts about a text."""

    column: str | None
    num_documents: int
    num_characters: int
    is_estimate: bool
    """The text was too long to read all of it."""
    num_tokens: int
    tokenizer: Choice

    @property
    def summary(self) -> str:
        """The size of the text in a sentence."""
        if self.is_estimate:
            return f"about {self.num_characters:,} characters, about {self.num_tokens:,} tokens."
        documents = count(self.num_documents, "document")
        return f"{documents} with {self.num_characters:,} characters, about {self.num_tokens:,} tokens."


def find(train: list[str], column_flag: str | None, base: BaseModel | None, options: ReadOptions) -> Text:
    """Return the facts about the text in some sources.

    Raises:
        InputError: a source cannot be read, or the column of the text is not recognized.
    """
    files = [Path(name) for name in resolve(train, "--train")]
    has_columns = any(suffix(file) != ".txt" for file in files)
    if column_flag is not None and not has_columns:
        raise InputError("--text_column has no effect on .txt files. Leave it out")
    column = _column(files, column_flag, options) if has_columns else None
    texts = read_texts(train, split="train", text_column=column or "text", key="--train", options=options)
    pieces = list(_sample(texts))
    read = sum(len(piece.text) for piece in pieces)
    is_estimate = read >= _SAMPLE_CHARACTERS
    num_characters = max(read, sum(map(_text_bytes, files))) if is_estimate else read
    tokenizer = sizes.tokenizer(num_characters)
    sample = [piece.text for piece in pieces[:: max(1, len(pieces) // 64)]]
    ratio = sum(token_lengths(sample, tokenizer.value, base)) / sum(map(len, sample))
    num_documents = sum(piece.starts_document for piece in pieces)
    return Text(column, num_documents, num_characters, is_estimate, round(ratio * num_characters), tokenizer)


def draft(
    train: list[str], column_flag: str | None, base: BaseModel | None, has_validation: bool, options: ReadOptions
) -> Draft:
    """Return the configuration for pretraining on some sources.

    Args:
        train: files, folders or globs.
        column_flag: the column of the text, where the user gives it.
        base: the pretrained model to continue; None trains from scratch.
        has_validation: validation text was given.
        options: options for text files.

    Raises:
        InputError: a source cannot be read, or the column of the text is not recognized.
    """
    text = find(train, column_flag, base, options)
    fraction = min(0.1, max(0.001, round(_HELD_OUT_TOKENS / max(1, text.num_tokens), 3)))
    tokens = text.num_tokens if has_validation else round(text.num_tokens * (1 - fraction))
    block = _block_size(tokens, base)
    batch = max(1, min(16, tokens // block.value // 2, (2048 if is_pretrained(base) else 4096) // block.value))
    step_tokens = batch * block.value
    steps = min(max(_PASSES * tokens // step_tokens, _STEPS[0]), _STEPS[1])
    why = f"x {step_tokens:,} tokens read the text {steps * step_tokens / tokens:.1f} times; more steps lower the loss"
    held_out = Choice(
        fraction, f"no validation file was given, so the last {100 * fraction:g} % of the text are held out"
    )
    return Draft(
        task=CausalLM,
        module=LanguageModeling,
        summary=text.summary,
        trainer={
            "max_steps": Choice(steps, why),
            "val_check_interval": Choice(max(1, steps // 4), "four validations; the best checkpoint is kept"),
            "check_val_every_n_epoch": None,
        },
        model={
            **_model(tokens, base, block),
            "optimizer": {"lr": 1.0e-4 if is_pretrained(base) else 3.0e-3 if base is None else 1.0e-3},
            "schedule": {"kind": "cosine", "warmup_steps": min(100, steps // 10)},
        },
        data={
            **({} if has_validation else {"validation_fraction": held_out}),
            **({"text_column": text.column} if text.column else {}),
            **({} if base is not None else {"tokenizer": text.tokenizer}),
            "batch_size": Choice(batch, f"x {block.value} tokens per step; a GPU has room for more"),
        },
        others={"samples": {"prompts": [""]}},
    )


def _column(files: Sequence[Path], flag: str | None, options: ReadOptions) -> str:
    first = next(file for file in files if suffix(file) != ".txt")
    rows = []
    for row in read_rows(str(first), split="train", key="--train", options=options):
        rows.append(row)
        if len(rows) == 100:
            break
    return Columns(rows, {} if flag is None else {"text": flag}).require("text")[0]


def _sample(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Yield pieces until they hold ``_SAMPLE_CHARACTERS``."""
    characters = 0
    for piece in pieces:
        yield piece
        characters += len(piece.text)
        if characters >= _SAMPLE_CHARACTERS:
            return


def _text_bytes(file: Path) -> int:
    is_compressed = file.suffix.lower() in (".gz", ".parquet")
    return file.stat().st_size * (_COMPRESSION if is_compressed else 1)


def _block_size(tokens: int, base: BaseModel | None) -> Choice:
    """Return the longest usual block of which the text holds enough."""
    if base is not None and not base.may_shorten:
        return Choice(base.block_size, "the model's")
    sizes_that_fit = (size for size in _BLOCKS if size * _LEAST_BLOCKS <= tokens)
    size = next(sizes_that_fit, max(2, min(_BLOCKS[-1], tokens // 2)))
    size = size if base is None else min(size, base.block_size)
    return Choice(size, f"tokens of context; the text holds {tokens // size:,} such blocks")


def _model(tokens: int, base: BaseModel | None, block: Choice) -> dict[str, Any]:
    if base is not None:
        return {"init_from": base.choice(), **({"backbone": {"block_size": block}} if base.may_shorten else {})}
    name = "llama_nano" if tokens < _NANO_TOKENS else "llama_small"
    shape = shipped_configs.backbone(name)
    size = (
        "0.8M weights and the embeddings, for a CPU" if name == "llama_nano" else "a GPU trains it in reasonable time"
    )
    return {"backbone": Choice({**shape, "block_size": block}, f"{name}: {size}")}
