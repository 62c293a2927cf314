"""How the bytes of a checkpoint get to the disk and back."""

import errno
import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor

from gpt_lightning.errors import RunError
from gpt_lightning.files import whole
from gpt_lightning.models.manifest import Entry
from gpt_lightning.models.weights import read_checkpoint

_LARGE: Final = 1 << 16
"""Bytes from which a second thread pays."""


class CheckpointFiles(CheckpointIO):
    """Writes a checkpoint whole or not at all, finite or not at all; reads it without running anything.

    Lightning's own goes through the folder of temporary files, from where it is copied over the target: a kill or a
    full disk then costs the checkpoint that was there.
    """

    def __init__(self) -> None:
        self.written: Entry | None = None
        """The last file that was written, as the manifest lists it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``path``.

        Raises:
            RunError: it holds a number that is not finite, or it cannot be written.
        """
        path, step = Path(path), int(checkpoint["global_step"])
        if (name := _not_finite(checkpoint)) is not None:
            raise RunError(
                f"step {step}: {name} is no longer finite, so nothing was saved; "
                "resume from the last checkpoint with a lower model.optimizer.lr"
            )
        file = None
        try:
            with whole(path) as target, ThreadPoolExecutor(1) as pool:
                file = _Hashed(target, pool)
                torch.save(checkpoint, file)  # type: ignore[arg-type]  # it needs no more of a file
        except (OSError, RuntimeError) as error:
            cause = error if isinstance(error, OSError) else file and file.error
            if not isinstance(cause, OSError):
                raise
            raise RunError(
                f"step {step}: cannot write {path}: {os.strerror(cause.errno or 0)} ({_name(cause)}); "
                "the checkpoints before it are as they were; make room, then resume"
            ) from error
        self.written = Entry(path.name, step, path.stat().st_size, file.sha256)

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """Read ``path``; the tensors are on the CPU, and copied from there."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete ``path``."""
        Path(path).unlink(missing_ok=True)


class _Hashed:
    """A file that is hashed while it is written, on another core."""

    def __init__(self, file: BinaryIO, pool: ThreadPoolExecutor) -> None:
        self._file, self._pool, self._sha256 = file, pool, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write; torch makes another exception of what goes wrong, so it is kept."""
        try:
            if len(data) < _LARGE:
                self._sha256.update(data)
                return self._file.write(data)
            hashing = self._pool.submit(self._sha256.update, data)
            try:
                return self._file.write(data)
            finally:
                hashing.result()
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Part of what torch asks of a file."""

    @property
    def sha256(self) -> str:
        """Of all that was written."""
        return self._sha256.hexdigest()


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


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
