"""Batch size, block size, epochs and the like, as functions of what a file holds."""

import math
from collections.abc import Sequence
from typing import Final

from gpt_lightning.commands.init.choice import Choice
from gpt_lightning.commands.init.findings import count

_MULTIPLE: Final = 32
_MOST_SCRATCH: Final = 512
_BATCH_TOKENS: Final = 16_384
_BATCH_TOKENS_PRETRAINED: Final = 4096
_STEPS_SCRATCH: Final = 800
_STEPS_PER_LABEL: Final = 30
_HELD_OUT_ROWS: Final = 5000
_VOCABULARIES: Final = ((300_000, 1024), (1_000_000, 2048), (100_000_000, 4096))
"""Characters of text -> ids of a BPE that they can teach; more text has 16,384."""


def tokenizer(num_characters: int) -> Choice:
    """Return the tokenizer to train on a text."""
    size = next((size for limit, size in _VOCABULARIES if num_characters < limit), 16_384)
    return Choice(f"bpe:{size}", f"trained on the text, which has {num_characters:,} characters")


def block_size(lengths: Sequence[int], extra: int, at_least: int, at_most: int | None, is_cut: bool) -> Choice:
    """Return the block size for texts of these lengths in tokens.

    Args:
        lengths: the length of each text.
        extra: tokens that are read along with each text.
        at_least: shortest block that works.
        at_most: longest block of the model; None is for a new model.
        is_cut: longer texts are truncated, not split into windows.
    """
    ordered = sorted(lengths)
    most = ordered[math.ceil(0.99 * len(ordered)) - 1]
    wanted = -(-(most + extra) // _MULTIPLE) * _MULTIPLE
    size = min(max(wanted, at_least), _MOST_SCRATCH if at_most is None else at_most)
    rest = "truncated" if is_cut else "split into windows that overlap"
    return Choice(size, f"99 % of the texts have at most {most:,} tokens; longer ones than the block are {rest}")


def batch_size(num_rows: int, block: int, is_pretrained: bool) -> Choice:
    """Return the batch size for rows of at most ``block`` tokens."""
    by_rows = 8 if num_rows < 500 else 16 if num_rows < 5000 or is_pretrained else 32
    tokens = _BATCH_TOKENS_PRETRAINED if is_pretrained else _BATCH_TOKENS
    size = max(1, min(by_rows, tokens // block))
    if size < by_rows:
        return Choice(size, f"{size} x {block} tokens fit into little memory; raise it on a large GPU")
    return Choice(
        size, f"small enough for {count(-(-num_rows // size), 'optimizer step')} per epoch of {count(num_rows, 'row')}"
    )


def epochs(num_rows: int, batch: int, num_labels: int, is_pretrained: bool, is_monitored: bool) -> Choice:
    """Return the number of epochs; ``is_monitored`` if the checkpoint of the best epoch is kept."""
    steps = -(-num_rows // batch)
    if is_pretrained:
        number, why = 3 if steps < 1000 else 1, "a pretrained model learns a task in a few epochs"
    else:
        number = min(max(round(max(_STEPS_SCRATCH, _STEPS_PER_LABEL * num_labels) / steps), 3), 20)
        why = "the best epoch by the metric below is kept" if is_monitored else "the last epoch is kept"
    return Choice(number, f"{count(number * steps, 'optimizer step')}; {why}")


def validation_fraction(num_rows: int) -> Choice:
    """Return the part of the rows to hold out."""
    fraction = 0.1 if num_rows * 0.1 <= _HELD_OUT_ROWS else max(0.001, round(_HELD_OUT_ROWS / num_rows, 3))
    why = f"no validation file was given, so about {count(max(1, round(fraction * num_rows)), 'row')} are held out"
    return Choice(fraction, why)
