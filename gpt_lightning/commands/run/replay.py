"""Exact repetition of a finished training run, without some of its rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as L

from gpt_lightning.checkpoints.manifest import Manifest
from gpt_lightning.commands.run.cli import CLI
from gpt_lightning.commands.shell import command
from gpt_lightning.data.base import DataModule
from gpt_lightning.data.loader import Position
from gpt_lightning.errors import InputError
from gpt_lightning.printable import printable
from gpt_lightning.tasks.load import read_checkpoint
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from gpt_lightning.training.data_identity import (
    WITHOUT,
    batches_per_epoch,
    differences,
    first_masked,
    identity_of,
    position_of,
)


class Start(NamedTuple):
    """Place from which a run is repeated."""

    checkpoint: Path | None
    """Checkpoint to continue; None starts from the first step."""
    first: Position | None
    """First (epoch, batch) with a masked row; None if nothing is masked."""


class UnaffectedError(Exception):
    """The run has never read the rows, so it would be repeated without a difference."""


class Replay(CLI):
    """``fit`` with the configuration and the data of a finished run, in another folder, with rows masked.

    It continues the last checkpoint that has not been trained on the masked rows. Order and random numbers depend only
    on the position, so the result is that of a run with these rows masked from the first step.

    Args:
        run: folder of the run.
        manifest: its checkpoints.
        overrides: values that win over the run's configuration, with ``data.without``.
        allowed: packages that the run may import.
        from_start: start from the first step, even if a checkpoint is early enough.

    Raises:
        InputError: the run is not finished, or its data have changed.
        UnaffectedError: the run has never read the rows.
    """

    def __init__(
        self,
        run: Path,
        manifest: Manifest,
        overrides: Mapping[str, Any],
        allowed: Sequence[str] = (),
        *,
        from_start: bool = False,
    ) -> None:
        self.replayed, self.manifest, self.from_start, self.allow_import = run, manifest, from_start, allowed
        self.start = Start(None, None)
        super().__init__(replay_arguments(run, allowed), overrides)

    def _run_subcommand(self, subcommand: str) -> None:
        self.start, line = self._find_start()
        if self.config[subcommand].ckpt_path is None and self.trainer.is_global_zero:
            print(printable(line), flush=True)
        super()._run_subcommand(subcommand)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Return the arguments of the Trainer's method, with the checkpoint to continue."""
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        is_new = self.config[subcommand].ckpt_path is None  # else an interrupted repetition continues
        if is_new and self.start.checkpoint is not None:
            kwargs["ckpt_path"] = str(self.start.checkpoint)
        return kwargs

    def _find_start(self) -> tuple[Start, str]:
        """Return the last checkpoint that has not been trained on the masked rows, and a line about it."""
        data = self.datamodule
        if not isinstance(data, DataModule):
            raise InputError(
                f"{self.replayed}: its data module is not a DataModule of gpt-lightning: it cannot mask rows"
            )
        last = self._read(self.manifest.checkpoints[-1].file)
        data.setup("fit")
        self._check_data(data, last)
        self._check_finished(data, last)
        rows, end = data.masked_rows, position_of(last)
        if rows is None or not rows.mask_digest:
            return Start(None, None), "no row is masked, so the run is repeated from its first step"
        if self.trainer.world_size > 1:  # their batches are known only while the Trainer runs
            return Start(None, None), "a run on several devices is repeated from its first step"
        first = first_masked(data, self.trainer, range(end[0] + 1))
        if first is None or first >= end:
            raise UnaffectedError
        found = None if self.from_start else self._last_before(first)
        place = f"the rows first occur in batch {first[1] + 1:,} of epoch {first[0] + 1:,}"
        if found is not None:
            return Start(found, first), f"{place}: continuing {found}"
        reason = "" if self.from_start else ", and no checkpoint is older"
        return Start(None, first), f"{place}{reason}: starting from the first step"

    def _last_before(self, first: Position) -> Path | None:
        """Return the last checkpoint that precedes a position; None if all are later."""
        for entry in reversed(self.manifest.checkpoints):
            if position_of(self._read(entry.file)) <= first:
                return self.replayed / "checkpoints" / entry.file
        return None

    def _read(self, file: str) -> dict[str, Any]:
        return read_checkpoint(self.replayed / "checkpoints" / file, self.allow_import)

    def _check_data(self, data: DataModule, last: Mapping[str, Any]) -> None:
        """Check that the run was trained on these data, in this order.

        Raises:
            InputError: it was not.
        """
        saved = last.get("identity")
        if not isinstance(saved, dict) or "tokenizer" not in last:
            raise InputError(f"{self.replayed}: its checkpoints do not tell its data, so it cannot be repeated")
        if saved.get(WITHOUT):
            raise InputError(
                f"{self.replayed} was trained with masked rows itself. Give the run that it repeats, and all rows in "
                "one file"
            )
        tokenizer = Tokenizer.from_json(last["tokenizer"])
        changed = differences(saved, identity_of(data, self.trainer))
        if tokenizer.hash != data.tokenizer.hash:
            changed = ["the tokenizer has changed"]
        if changed:
            raise InputError(
                f"{self.replayed} cannot be repeated: {'; '.join(changed)} since it was trained. Restore the data and "
                "the settings of the run"
            )

    def _check_finished(self, data: DataModule, last: Mapping[str, Any]) -> None:
        """Check that the run has reached its end.

        Raises:
            InputError: it has not.
        """
        trainer, step = self.trainer, int(last["global_step"])
        epoch, batch = position_of(last)
        max_epochs = trainer.max_epochs
        has_epochs = max_epochs not in (None, -1) and (
            epoch >= max_epochs or (epoch + 1 == max_epochs and batch >= batches_per_epoch(data, trainer))
        )
        has_steps = trainer.max_steps != -1 and step >= trainer.max_steps
        if not (has_epochs or has_steps or _is_stopped_early(last)):
            limit = f"{trainer.max_steps:,} steps" if trainer.max_steps != -1 else f"{max_epochs} epochs"
            resume = command("fit", "-c", self.replayed / "config.yaml", f"--ckpt_path={self.replayed}")
            raise InputError(
                f"{self.replayed} is not finished: its last checkpoint is of step {step:,}, and it trains for {limit}. "
                f"Resume it first: {resume}"
            )


def replay_arguments(run: Path, allowed: Sequence[str]) -> list[str]:
    """Return the arguments of ``fit`` that repeat a run."""
    return ["fit", f"--config={run / 'config.yaml'}", *(f"--allow_import={name}" for name in allowed)]


def _is_stopped_early(checkpoint: Mapping[str, Any]) -> bool:
    """Return whether an ``EarlyStopping`` callback has ended the run."""
    states: Mapping[str, Any] = checkpoint.get("callbacks", {})
    return any(
        state["wait_count"] >= state["patience"]
        for name, state in states.items()
        if name.startswith(L.callbacks.EarlyStopping.__name__)
    )
