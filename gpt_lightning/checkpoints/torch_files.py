"""``CheckpointIO`` for Lightning with atomic writes, a check for finite numbers, and safe reads."""

import math
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.errors import InputError, RunError
from gpt_lightning.output_files import why_not_written

_REQUIRED: Final = ("epoch", "global_step", "pytorch-lightning_version")
"""Fields that Lightning reads from every checkpoint."""


class CheckpointFiles(CheckpointIO):
    """Checkpoint files that are complete and finite, or not written at all, and that are read without running code.

    Lightning's own implementation copies a temporary file over the target. If the process is killed or the disk is
    full, the previous checkpoint is lost.

    Attributes:
        loaded: the checkpoint that was read last, or None.
    """

    loaded: Path | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint to ``path`` atomically.

        Raises:
            RunError: it holds a number that is not finite, or it cannot be written.
        """
        path, step = Path(path), int(checkpoint["global_step"])
        if (name := _non_finite_tensor(checkpoint)) is not None:
            raise RunError(
                f"step {step}: {name} is no longer finite, so nothing was saved. "
                "Resume from the last checkpoint with a lower model.optimizer.lr"
            )
        file = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)  # ModelCheckpoint may name a new folder
            with atomic_write(path) as target:
                file = _RecordingFile(target)
                torch.save(checkpoint, file)  # type: ignore[arg-type]  # torch calls only write and flush
        except (OSError, RuntimeError) as error:
            cause = error if isinstance(error, OSError) else file and file.error
            if not isinstance(cause, OSError):
                raise
            raise cannot_write(path, cause) from error

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """Read the checkpoint ``path``, with all tensors on the CPU.

        Raises:
            InputError: it is damaged, or was not written by a Trainer.
        """
        self.loaded = Path(path)
        checkpoint = read_checkpoint(self.loaded)
        if missing := [name for name in _REQUIRED if name not in checkpoint]:
            raise InputError(f"{path}: its field {missing[0]} is missing. Use a checkpoint that fit has written")
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the checkpoint ``path``."""
        Path(path).unlink(missing_ok=True)


class _RecordingFile:
    """File wrapper that records the OSError of a write, which torch replaces by a RuntimeError."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write ``data``; if this raises an OSError, store the error in ``error``."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Do nothing; torch requires the method."""


def _non_finite_tensor(value: Any, name: str = "") -> str | None:
    """Return the dotted name of the first weight or optimizer moment that holds NaN or infinity, or None.

    Settings such as a threshold may be infinite, and so may metrics and the best score of ``EarlyStopping`` before it
    has one.
    """
    if name in ("callbacks", "monitored") or name.endswith("_extra_state"):
        return None
    if isinstance(value, Tensor):
        if not value.is_floating_point() or not value.numel():
            return None
        # aminmax needs one pass and no temporary tensor. It returns NaN if any entry is NaN.
        return None if all(map(math.isfinite, (float(bound) for bound in value.aminmax()))) else name
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return None
    return next(
        (found for key, item in items if (found := _non_finite_tensor(item, f"{name}.{key}".lstrip(".")))), None
    )


def cannot_write(path: Path, error: OSError) -> RunError:
    """Return the error for a failed write during training."""
    reason, remedy = why_not_written(error)
    return RunError(f"cannot write {path}: {reason}. Earlier checkpoints are intact. {remedy}, then resume")
