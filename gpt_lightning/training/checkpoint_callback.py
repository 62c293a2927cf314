"""Callback that writes, keeps and deletes checkpoints, and refuses to resume with different data."""

import math
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
from lightning.pytorch.callbacks import Checkpoint

from gpt_lightning.atomic_files import delete_unfinished
from gpt_lightning.checkpoints.manifest import FILE, Manifest, entry_of
from gpt_lightning.checkpoints.read import read_manifest
from gpt_lightning.checkpoints.run_folder import holds_checkpoint, make_folder
from gpt_lightning.checkpoints.torch_files import CheckpointFiles, cannot_write
from gpt_lightning.errors import InputError, Interrupted
from gpt_lightning.ranges import check_count
from gpt_lightning.tasks import Task
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from gpt_lightning.training.data_identity import differences, identity, mask_differences
from gpt_lightning.training.run_settings import DIFFERS, changes, settings
from gpt_lightning.training.validation import is_last_step, validation_follows

NUM_COEXISTING = 2
"""Number of checkpoints that must fit on the disk, as the old one is deleted only when the new one is complete."""


class Checkpoints(Checkpoint):
    """Callback that keeps the latest checkpoints and the best one, listed in ``checkpoints/manifest.json``.

    A checkpoint is written every ``every_n_steps`` optimizer steps, after each validation, at the end of training, and
    when a signal stops the run. It is listed once it is complete, and only then an older one is deleted. Files that
    this run did not write are never deleted. Each checkpoint contains the settings that determine the order of the
    data, so that no run resumes with a different order.

    Args:
        monitor: metric that selects the best checkpoint.
        mode: ``min`` if a lower value is better, ``max`` if a higher one is.
        every_n_steps: number of optimizer steps between two checkpoints.
        keep: number of latest checkpoints to keep, in addition to the best.
        refuse_changes: refuse to resume if the data or their order differ from those of the checkpoint.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        every_n_steps: int = 1000,
        keep: int = 2,
        refuse_changes: bool = True,
    ) -> None:
        check_count("--checkpoints.every_n_steps", every_n_steps)
        check_count("--checkpoints.keep", keep, least=0)
        if keep < 2:
            raise InputError(f"--checkpoints.keep={keep} must be at least 2, as one checkpoint may get damaged")
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps
        self.keep = keep
        self.refuse_changes = refuse_changes
        self.folder: Path | None = None
        self.best_score: float | None = None
        self.best_step: int | None = None
        self._saved_at: tuple[int, int] | None = None
        self._has_folder = False
        self._manifest = Manifest()
        self._loaded_settings: dict[str, Any] = {}
        self._lister = ThreadPoolExecutor(1)
        self._listing: Future[None] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Create the folder before the first step, so that a read-only one fails early."""
        trainer.strategy.checkpoint_io = CheckpointFiles()
        log_dir = trainer.log_dir  # a broadcast from rank zero: every rank must take part
        if stage != "fit" or log_dir is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self.folder = Path(log_dir) / "checkpoints"
        self._has_folder = False
        if trainer.is_global_zero:
            make_folder(self.folder)
            delete_unfinished(self.folder)
            check_room(self.folder, pl_module)
            if (tokenizer := tokenizer_of(trainer)) is not None:
                tokenizer.save(Path(log_dir) / "tokenizer.json")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print changed settings, refuse the folder of another run, and delete what a killed process left in its own.

        This is the first hook after Lightning has read the checkpoint to resume from.

        Raises:
            InputError: the folder holds the checkpoints of another run, which would be deleted.
        """
        if trainer.is_global_zero:
            print("".join(f"{line}\n" for line in changes(self._loaded_settings, settings(trainer, pl_module))), end="")
        self._take_folder(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save at the interval and after the last step, unless a validation follows, which saves too.

        ``on_train_end`` is too late: Lightning then counts the epoch as finished, even if it stopped in the middle.
        """
        assert isinstance(pl_module, Task)
        if pl_module.is_accumulating or validation_follows(trainer):
            return
        is_last = is_last_step(trainer) or (trainer.should_stop and trainer.fit_loop._can_stop_early)
        if trainer.global_step % self.every_n_steps == 0 or is_last:
            self._save(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save, and remember whether this checkpoint is the best.

        Raises:
            InputError: the monitored metric was not computed.
        """
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self.monitor not in trainer.callback_metrics:
            names = sorted(trainer.callback_metrics, key=lambda name: not name.startswith("val/"))
            raise InputError(
                f"--checkpoints.monitor={self.monitor} is not computed by this validation. "
                f"Choose one of {', '.join(names)}"
            )
        score = float(trainer.callback_metrics[self.monitor])
        if self._is_best(score):
            self.best_score, self.best_step = score, trainer.global_step
        self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Wait until the last checkpoint is listed."""
        self.wait()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save if a signal stopped the run between two steps. After other exceptions the weights may be damaged."""
        if isinstance(exception, Interrupted) and exception.between_steps and self._saved_at != _position(trainer):
            self._save(trainer)
        self.wait()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the settings that determine the order of the data, and others that change the result."""
        if tokenizer_of(trainer) is not None:
            checkpoint["identity"] = identity(trainer)
        if trainer.state.fn == "fit":
            checkpoint["settings"] = settings(trainer, pl_module)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to continue with a different tokenizer, which gives ids other meanings, or with different data.

        Raises:
            InputError: the tokenizer, the data or their order differ.
        """
        changed = []
        tokenizer = tokenizer_of(trainer)
        if tokenizer is not None and "tokenizer" in checkpoint:
            trained_with = Tokenizer.from_json(checkpoint["tokenizer"])
            if trained_with.hash != tokenizer.hash:
                changed.append(f"its tokenizer is {trained_with.name}, but the data uses {tokenizer.name}")
        if trainer.state.fn == "fit":
            saved = checkpoint.get("settings")
            self._loaded_settings = saved if isinstance(saved, dict) else {}  # older checkpoints have none
        if trainer.state.fn == "fit" and "identity" in checkpoint and not changed:
            changed = [*differences(checkpoint["identity"], identity(trainer)), *mask_differences(checkpoint, trainer)]
        if changed and (self.refuse_changes or trainer.state.fn != "fit"):
            raise InputError(
                "the settings differ from those of the checkpoint: "
                + "; ".join(changed)
                + ". Restore the old values or leave the options out"
                + (", or continue anyway with --checkpoints.refuse_changes=false" if self.refuse_changes else "")
            )
        if trainer.is_global_zero:
            for phrase in changed:
                print(f"changed: {phrase}{DIFFERS}", flush=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far, and the metric that it is of."""
        return {
            "best_score": self.best_score,
            "best_step": self.best_step,
            "monitor": self.monitor,
            "mode": self.mode,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the best score so far, unless it is of another metric."""
        saved = tuple(state_dict.get(name, getattr(self, name)) for name in ("monitor", "mode"))
        if saved == (self.monitor, self.mode):  # checkpoints before version 0.2 do not name the metric
            score = state_dict["best_score"]
            self.best_score, self.best_step = None if score is None else float(score), state_dict["best_step"]

    def _is_best(self, score: float) -> bool:
        if math.isnan(score) or self.best_score is None:
            return not math.isnan(score)
        return score < self.best_score if self.mode == "min" else score > self.best_score

    def wait(self) -> None:
        """Wait until the last checkpoint is listed.

        Raises:
            RunError: the list cannot be written.
        """
        listing, self._listing = self._listing, None
        if listing is not None:
            listing.result()

    @property
    def manifest(self) -> Manifest:
        """The listed checkpoints of this run, on rank zero."""
        self.wait()
        return self._manifest

    def _take_folder(self, trainer: L.Trainer) -> None:
        """Make the folder that of this run, once, after Lightning has read the checkpoint to resume from.

        A callback that repeats a validation in ``on_train_start`` may save before this callback's own hook.
        """
        if self.folder is None or self._has_folder or not trainer.is_global_zero:
            return
        loaded = getattr(trainer.strategy.checkpoint_io, "loaded", None)
        is_own = self._saved_at is not None or (loaded is not None and holds_checkpoint(self.folder.parent, loaded))
        if not is_own and next(self.folder.glob("step_*.ckpt"), None) is not None:
            raise InputError(
                f"{self.folder} already holds checkpoints of another run. Resume it with ckpt_path, or choose another "
                "folder: default_root_dir of the Trainer, or save_dir of its first logger"
            )
        self._take_over(self.folder, loaded)
        self._has_folder = True

    def _take_over(self, folder: Path, ckpt_path: Any) -> None:
        """Read the list of the checkpoints in ``folder``, and delete the files that a killed process left unlisted."""
        manifest = read_manifest(folder)
        for name in manifest.unlisted:
            if ckpt_path is not None and (folder / name).resolve() == Path(ckpt_path).resolve():
                manifest = manifest.with_entry(entry_of(folder / name), None, self.keep)
            else:
                (folder / name).unlink(missing_ok=True)
        if manifest != Manifest():
            self._write(replace(manifest, unlisted=()))

    def _save(self, trainer: L.Trainer) -> None:
        """Write a checkpoint. Training continues while another thread computes its checksum and lists it."""
        if self.folder is None:
            return
        self._take_folder(trainer)
        path = self.folder
        if trainer.is_global_zero:
            path /= self.manifest.free_name(trainer.global_step, self.folder)
            self._write(replace(self._manifest, unlisted=(path.name,)))
        path = trainer.strategy.broadcast(path)
        trainer.save_checkpoint(path)
        self._saved_at = _position(trainer)
        if trainer.is_global_zero:
            self._listing = self._lister.submit(self._list, path, self.best_step)

    def _list(self, path: Path, best_step: int | None) -> None:
        """List a checkpoint, then delete those that leave the list, so that a killed process loses none."""
        self._write(self._manifest.with_entry(entry_of(path), best_step, self.keep))
        for name in self._manifest.unlisted:
            path.with_name(name).unlink(missing_ok=True)

    def _write(self, manifest: Manifest) -> None:
        """Write the manifest. The next process deletes the files that it names as unlisted, if this one is killed."""
        assert self.folder is not None
        try:
            manifest.write(self.folder)
        except OSError as error:
            raise cannot_write(self.folder / FILE, error) from error
        self._manifest = manifest


def tokenizer_of(trainer: L.Trainer) -> Tokenizer | None:
    """Return the tokenizer of the trainer's data module, or None if it has none of this package."""
    tokenizer = getattr(trainer.datamodule, "tokenizer", None)  # type: ignore[attr-defined]
    return tokenizer if isinstance(tokenizer, Tokenizer) else None


def check_room(folder: Path, module: L.LightningModule) -> None:
    """Check that the disk has room for ``NUM_COEXISTING`` checkpoints.

    Raises:
        InputError: the disk is too full.
    """
    # AdamW keeps two moments for each trained weight. Checkpoints of LoRA adapters leave out the frozen weights.
    frozen = 0 if isinstance(module, Task) and module.frozen_sha256 else 1
    size = sum(p.numel() * p.element_size() * (3 if p.requires_grad else frozen) for p in module.parameters())
    free = shutil.disk_usage(folder).free
    if free < NUM_COEXISTING * size:
        raise InputError(
            f"{folder}: {free / 1e6:,.0f} MB are free, but {NUM_COEXISTING} checkpoints of {size / 1e6:,.0f} MB "
            "must fit. Free some space, or choose another folder with --log_dir"
        )


def _position(trainer: L.Trainer) -> tuple[int, int]:
    """Return the position in training that a checkpoint written now would contain."""
    return trainer.global_step, trainer.fit_loop.epoch_loop.total_batch_idx
