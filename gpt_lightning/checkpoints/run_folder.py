"""Run folders: creation, a lock against other processes, and the newest undamaged checkpoint."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only

from gpt_lightning.atomic_files import delete_unfinished
from gpt_lightning.checkpoints.manifest import FILE, Manifest, entry_of, place
from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.errors import InputError

LOCK: Final = ".lock"
_CONFIG: Final = "config.yaml"
_NAME: Final = re.compile(r"\w[\w.-]*")


def make_folder(folder: Path) -> None:
    """Create ``folder`` and check that files can be written to it.

    Raises:
        InputError: the folder cannot be created or written to.
    """
    probe = folder / f".{os.getpid()}.writable"  # one per process, because two may start at once
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None


def new_run(root: Path) -> Path:
    """Create and return the first free ``version_N`` below ``root``. Two processes that start at once get two."""
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        return root / "version_0"  # Only rank zero writes. It broadcasts the real folder later.
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


def named_run(root: Path, name: str, resumes: bool) -> Path:
    """Create and return the folder ``name`` below ``root``.

    Args:
        root: the folder of the experiment.
        name: the name of the run.
        resumes: whether the folder may hold a run already, which then continues.

    Raises:
        InputError: the name is invalid or taken, or the folder cannot be written to.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"--name={name}: use letters, digits, '_', '-' and '.' only, and start with a letter, a digit or '_'"
        )
    run = root / name
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        return run
    if not resumes and run.is_dir() and any(run.iterdir()):
        raise InputError(f"--name={name}: {run} already holds a run. Choose another name, or resume with --resume=auto")
    make_folder(run)
    return run


def resumed_run(ckpt_path: str | None, root: Path) -> Path | None:
    """Return the run below ``root`` that a checkpoint belongs to, or None."""
    if ckpt_path is None:
        return None
    folder = Path(ckpt_path).resolve().parent
    return folder.parent if folder.name == "checkpoints" and folder.parent.parent == root.resolve() else None


def newest_run(root: Path, name: str | None = None) -> Path | None:
    """Return the run ``name`` below ``root``, or without a name the ``version_N`` that was started last.

    Returns:
        The folder of the run. None if the run was never started.
    """
    if name is not None:
        return root / name if (root / name / _CONFIG).exists() else None
    runs = [run for run in root.glob("version_*") if _number(run) is not None and (run / _CONFIG).exists()]
    return max(runs, key=lambda run: _number(run) or 0, default=None)


def newest_good(run: Path) -> Path | None:
    """Return the newest undamaged checkpoint of ``run``, or None if the run has no checkpoint.

    Prints the damaged checkpoints that it skips. A damaged manifest is rebuilt from the undamaged checkpoints.

    Raises:
        InputError: every checkpoint is damaged.
    """
    folder = run / "checkpoints"
    # A file gets its final name before it is listed, so unlisted checkpoints are complete too.
    newest = sorted(folder.glob("step_*.ckpt"), key=place, reverse=True)
    try:
        listed = Manifest.read(folder).checkpoints
    except InputError as error:
        print(f"{error}; rebuilding it from the checkpoints", flush=True)
        (folder / FILE).unlink()
        Manifest(tuple(entry_of(path) for path in reversed(newest) if _is_good(path))).write(folder)
        listed = Manifest.read(folder).checkpoints
    candidates = [folder / entry.file for entry in reversed(listed)] or newest
    for path in candidates:
        if _is_good(path):
            return path
    if candidates or newest:
        raise InputError(f"{folder}: every checkpoint is damaged. Start a new run without --resume")
    return None


@contextmanager
def claim(run: Path, resumes: bool) -> Iterator[None]:
    """Lock ``run`` against other processes while the block runs. A killed process releases its lock.

    Args:
        run: the folder of the run.
        resumes: whether this process continues the run in the folder.

    Raises:
        InputError: another process trains in the folder, or it holds a run that this process does not continue.
    """
    if not resumes and run.is_dir() and any(run.iterdir()):
        raise InputError(
            f"{run} already holds a run. Choose another folder or version, or resume that run with --ckpt_path={run}"
        )
    make_folder(run)
    # filelock closes the file in forked children, so worker processes that outlive a killed parent hold no lock.
    # The fallback, a lock file that exists or not, would survive a kill.
    lock = FileLock(run / LOCK, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"{run}: another process is training in it. Wait for it, or start a new run") from None
    except OSError as error:
        raise InputError(
            f"{run}: cannot lock the folder: {error.strerror}. Choose a folder on another file system with --log_dir"
        ) from None
    try:
        yield
    finally:
        lock.release()


def release_empty(run: Path) -> None:
    """Delete the folder of a run in which nothing has been written yet."""
    if run.is_dir() and all(path.name == LOCK for path in run.iterdir()):
        shutil.rmtree(run, ignore_errors=True)


def sweep_killed(root: Path) -> None:
    """Delete the unfinished files of killed processes in the runs below ``root``; skip runs that still train."""
    for folder in {path.parent for path in root.glob("*/checkpoints/.*.unfinished")}:
        with suppress(InputError), claim(folder.parent, resumes=True):
            delete_unfinished(folder)


def _is_good(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except InputError as error:
        print(f"{error}; trying the checkpoint before it", flush=True)
        return False
    return True


def _number(run: Path) -> int | None:
    digits = run.name.removeprefix("version_")
    return int(digits) if run.name.startswith("version_") and digits.isdecimal() else None
