"""Run folders: one per run, locked by one process, and the newest good checkpoint in them."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from lightning.pytorch.utilities import rank_zero_only

from gpt_lightning.atomic_files import delete_unfinished
from gpt_lightning.checkpoints.manifest import FILE, Manifest, entry_of, place
from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.errors import InputError

LOCK: Final = ".lock"


def make_folder(folder: Path) -> None:
    """Create ``folder`` and check that it can be written."""
    probe = folder / f".{os.getpid()}.writable"  # its own, as two may start at once
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None


def new_run(root: Path) -> Path:
    """A folder ``version_N`` that nobody had before; two that start at once get two."""
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        return root / "version_0"  # only rank zero writes, and tells the others where
    make_folder(root)
    number = 0
    while True:
        run = root / f"version_{number}"
        try:
            run.mkdir()
        except FileExistsError:
            number += 1
        else:
            return run


def resumed_run(ckpt_path: str | None, root: Path) -> Path | None:
    """The run below ``root`` that the checkpoint belongs to, or None."""
    if ckpt_path is None:
        return None
    run = Path(ckpt_path).resolve().parent.parent
    return run if _number(run) is not None and run.parent == root.resolve() else None


def newest_run(root: Path) -> Path | None:
    """The last run that was begun below ``root``."""
    runs = [run for run in root.glob("version_*") if _number(run) is not None and (run / "config.yaml").exists()]
    return max(runs, key=lambda run: _number(run) or 0, default=None)


def newest_good(run: Path) -> Path | None:
    """The newest checkpoint of ``run`` that is not damaged, or None where there never was one.

    Prints which ones are damaged. Where the list of them is, it is made anew from those that are not.

    Raises:
        InputError: all are damaged.
    """
    folder = run / "checkpoints"
    # Those that nobody listed were complete too: they are renamed first and listed then.
    newest = sorted(folder.glob("step_*.ckpt"), key=place, reverse=True)
    try:
        listed = Manifest.read(folder).checkpoints
    except InputError as error:
        print(f"{error}; a new one is made", flush=True)
        (folder / FILE).unlink()
        Manifest(tuple(entry_of(path) for path in reversed(newest) if _is_good(path))).write(folder)
        listed = Manifest.read(folder).checkpoints
    candidates = [folder / entry.file for entry in reversed(listed)] or newest
    for path in candidates:
        if _is_good(path):
            return path
    if candidates or newest:
        raise InputError(f"{folder}: every checkpoint is damaged; without --resume a new run starts from the beginning")
    return None


@contextmanager
def claim(run: Path, goes_on: bool) -> Iterator[None]:
    """Make ``run`` this process's own while the block runs, however the process ends.

    Raises:
        InputError: another process trains there, or, unless this is a run that ``goes_on``, another run is in it.
    """
    if not goes_on and run.is_dir() and any(run.iterdir()):
        raise InputError(
            f"{run} holds a run already, which would be mixed with this one; choose another folder or version, "
            f"or go on with that run: --ckpt_path={run}"
        )
    make_folder(run)
    # Unlike flock's, this lock is not inherited by worker processes, which live a little longer than a killed parent.
    with (run / LOCK).open("a") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{run}: another process is training in it; wait for it, or start a run of its own"
            ) from None
        yield


def release_empty(run: Path) -> None:
    """Take a folder away in which nothing has been written yet."""
    if run.is_dir() and all(path.name == LOCK for path in run.iterdir()):
        shutil.rmtree(run, ignore_errors=True)


def sweep_killed(root: Path) -> None:
    """Delete what killed processes left unfinished in the runs below ``root``, other than those that still train."""
    for folder in {path.parent for path in root.glob("version_*/checkpoints/.*.unfinished")}:
        with suppress(InputError), claim(folder.parent, goes_on=True):
            delete_unfinished(folder)


def _is_good(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except InputError as error:
        print(f"{error}; the one before it is tried", flush=True)
        return False
    return True


def _number(run: Path) -> int | None:
    digits = run.name.removeprefix("version_")
    return int(digits) if run.name.startswith("version_") and digits.isdecimal() else None
