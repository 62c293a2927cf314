"""Identity of the training rows and their order, so that no run resumes with different ones."""

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import lightning.pytorch as L

from gpt_lightning.data.base import DATE, DataModule
from gpt_lightning.data.loader import Position
from gpt_lightning.data.masked_rows import first_occurrence
from gpt_lightning.printable import printable
from gpt_lightning.tasks.accumulation import accumulation

WITHOUT: Final = "data.without"


def identity(trainer: L.Trainer) -> dict[str, Any]:
    """Return a dict from configuration keys to plain values; empty for data modules from outside this package."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    return identity_of(data, trainer) if isinstance(data, DataModule) and trainer.state.fn == "fit" else {}


def identity_of(data: DataModule, trainer: L.Trainer) -> dict[str, Any]:
    """Return the identity of the rows that ``setup("fit")`` opened, for a trainer that may not run yet."""
    return {
        **data.identity(),
        "seed_everything": os.environ.get("PL_GLOBAL_SEED", "0"),
        "trainer.accumulate_grad_batches": accumulation(trainer),
        "trainer.devices * num_nodes": trainer.world_size,
    }


def differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return a phrase for each difference between a checkpoint's identity and the current one, except for masks.

    The date matters only if the rows contain it.
    """
    ignored = {WITHOUT, *([DATE] if saved.get("data.train") == current.get("data.train") else [])}
    return [
        f"{key} has changed"
        if key == "data.train"
        else f"{key} was {printable(str(saved[key]))}, now it is {current[key]}"
        for key in current
        if key in saved and saved[key] != current[key] and key not in ignored
    ]


def mask_differences(checkpoint: Mapping[str, Any], trainer: L.Trainer) -> Iterator[str]:
    """Yield a phrase if the masked rows differ from those of a checkpoint.

    A checkpoint without masked rows may continue with some that it has not been trained on, because an uninterrupted
    run with this mask would have the same checkpoint.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, DataModule) or not isinstance(checkpoint.get("identity"), dict):
        return
    saved, current = checkpoint["identity"].get(WITHOUT, ""), data.identity().get(WITHOUT, "")
    if saved and saved != current:
        yield f"{WITHOUT} masked {'other' if current else 'some'} rows"
    elif current != saved:
        last, first = position_of(checkpoint), first_masked(data, trainer, range(position_of(checkpoint)[0] + 1))
        if first is not None and first < last:
            yield (
                f"{WITHOUT} masks rows that the checkpoint has been trained on, first in batch {first[1] + 1} of epoch "
                f"{first[0] + 1}"
            )


def position_of(checkpoint: Mapping[str, Any]) -> Position:
    """Return the position in training of the batch that follows a checkpoint.

    Micro-batches of an unfinished optimizer step count as trained, although they are repeated after a resume.
    """
    loop = checkpoint["loops"]["fit_loop"]
    epoch: int = loop["epoch_progress"]["current"]["processed"]
    batch: int = loop["epoch_loop.batch_progress"]["current"]["ready"]
    return epoch, batch


def batches_per_epoch(data: DataModule, trainer: L.Trainer) -> int:
    """Return the number of training batches of an epoch, which ``limit_train_batches`` may limit."""
    batches, limit = -(-len(data.rows("train")) // (data.batch_size * trainer.world_size)), trainer.limit_train_batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def first_masked(data: DataModule, trainer: L.Trainer, epochs: range) -> Position | None:
    """Return the first position at which a masked row is in a batch, or None if there is none in ``epochs``."""
    rows = data.masked_rows
    if rows is None:
        return None
    every = range(1) if trainer.overfit_batches else epochs  # type: ignore[attr-defined]
    return first_occurrence(rows, data.batch_size * trainer.world_size, batches_per_epoch(data, trainer), every)
