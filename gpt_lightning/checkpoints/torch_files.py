"""Lightning's ``CheckpointIO``: atomic writing, finite numbers only, safe reading."""

import errno
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.errors import RunError


class CheckpointFiles(CheckpointIO):
    """Writes a checkpoint whole or not at all, finite or not at all; reads it without running anything.

    Lightning's own goes through the folder of temporary files, from where it is copied over the target: a kill or a
    full disk then costs the checkpoint that was there.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``path``.

        Raises:
            RunError: it holds a number that is not finite, or it cannot be written.
        """
        path, step = Path(path), int(checkpoint["global_step"])
        # Callbacks such as EarlyStopping start with an infinite best score, which is no sign of divergence.
        if (name := _not_finite({key: value for key, value in checkpoint.items() if key != "callbacks"})) is not None:
            raise RunError(
                f"step {step}: {name} is no longer finite, so nothing was saved; "
                "resume from the last checkpoint with a lower model.optimizer.lr"
            )
        file = None
        try:
            with atomic_write(path) as target:
                file = _File(target)
                torch.save(checkpoint, file)  # type: ignore[arg-type]  # it needs no more of a file
        except (OSError, RuntimeError) as error:
            cause = error if isinstance(error, OSError) else file and file.error
            if not isinstance(cause, OSError):
                raise
            raise cannot_write(path, cause) from error

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """Read ``path``; the tensors are on the CPU, and copied from there."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete ``path``."""
        Path(path).unlink(missing_ok=True)


class _File:
    """A file that keeps the error of a write: torch makes another exception of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Part of what torch asks of a file."""


def _not_finite(value: Any, name: str = "") -> str | None:
    """The name of the first tensor that holds nan or infinity, other than settings, such as a threshold."""
    if name.endswith("_extra_state"):
        return None
    if isinstance(value, Tensor):
        if not value.is_floating_point() or not value.numel():
            return None
        # In one pass and without another tensor; nan is the least and the greatest of all.
        return None if all(map(math.isfinite, (float(bound) for bound in value.aminmax()))) else name
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return None
    return next((found for key, item in items if (found := _not_finite(item, f"{name}.{key}".lstrip(".")))), None)


def cannot_write(path: Path, error: OSError) -> RunError:
    """What to tell the user: a full disk is the usual reason."""
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return RunError(
        f"cannot write {path}: {os.strerror(error.errno or 0)} ({name}); "
        "the checkpoints before it are as they were; make room, then resume"
    )
