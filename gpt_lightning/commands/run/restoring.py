"""Conversion of errors that arise while Lightning restores a checkpoint."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lightning.pytorch.trainer.connectors import checkpoint_connector

from gpt_lightning.checkpoints.read import first_line
from gpt_lightning.errors import InputError, RunError

_FILE: Final = checkpoint_connector.__file__


@contextmanager
def restoring(ckpt_path: str | None) -> Iterator[None]:
    """Convert exceptions of the block that arise in Lightning's restoring of ``ckpt_path``.

    Most damage is refused when the checkpoint is read. Callbacks and strategies check the rest of their state
    themselves, each with exceptions of its own.

    Raises:
        InputError: the checkpoint does not fit the run.
    """
    try:
        yield
    except (InputError, RunError):
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        if not any(frame.filename == _FILE and frame.name.startswith(("re", "_re")) for frame in frames):
            raise
        raise InputError(
            f"{ckpt_path}: its state does not fit this run ({type(error).__name__}: {first_line(error)}). Use another "
            "checkpoint, or start a new run from its weights with --model.init_from"
        ) from error
