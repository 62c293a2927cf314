"""Run folders: creation, locking by one process, and the search for the newest intact checkpoint."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import yaml
from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only

from gpt_lightning.atomic_files import delete_unfinished
from gpt_lightning.bounded_files import load_yaml, read_text
from gpt_lightning.checkpoints.manifest import checkpoint_files
from gpt_lightning.checkpoints.read import is_intact, read_manifest
from gpt_lightning.errors import InputError

LOCK: Final = ".lock"
_CONFIG: Final = "config.yaml"
_MAX_BYTES: Final = 2**20
_NAME: Final = re.compile(r"\w[\w.-]{0,99}")


def make_folder(folder: Path) -> None:
    """Create ``folder`` and check that it is writable.

    Raises:
        InputError: it is not writable.
    """
    probe = folder / f".{os.getpid()}.writable"  # one name per process, as several may start at the same time
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:
        raise _cannot_write(folder, error) from None


def new_run(root: Path) -> Path:
    """Create and return a new folder ``version_N``; two processes that start at the same time get different ones."""
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        return root / "version_0"  # placeholder: only rank 0 creates the folder, and it broadcasts the path
    make_folder(root)
    number = 0
    while True:
        run = root / f"version_{number}"
        try:
            run.mkdir()
        except FileExistsError:
            number += 1
        except OSError as error:
            raise _cannot_write(run, error) from None
        else:
            return run


def named_run(root: Path, name: str, is_resumed: bool) -> Path:
    """Create and return the folder ``name`` below ``root``.

    Args:
        root: folder of the experiment.
        name: name of the run.
        is_resumed: if True, the folder may already hold this run.

    Raises:
        InputError: the name is invalid or taken, or the folder cannot be written to.
    """
    _check_name(name)
    run = root / name
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        return run
    if not is_resumed and not _is_empty(run):
        raise InputError(f"--name={name}: {run} already holds a run. Choose another name, or resume with --resume=auto")
    make_folder(run)
    return run


def run_of(checkpoint: Path) -> Path | None:
    """Return the folder of the run that a checkpoint is in, or None if it is in no folder ``checkpoints``.

    Any part of the path may be a symbolic link. The folder that the user names comes before the one that a link leads
    to.
    """
    parents = (checkpoint.absolute().parent, checkpoint.resolve().parent)
    return next((parent.parent for parent in parents if parent.name == "checkpoints"), None)


def resumed_run(ckpt_path: str, root: Path) -> Path | None:
    """Return the run below ``root`` that a checkpoint belongs to, or None."""
    if not root.is_dir():
        return None
    runs = sorted(run for run in root.iterdir() if holds_checkpoint(run, ckpt_path))
    # If a run has two names, such as version_0 and a link to it, take the one that the user gives.
    named = run_of(Path(ckpt_path))
    return next((run for run in runs if named is not None and run.name == named.name), next(iter(runs), None))


def holds_checkpoint(run: Path, ckpt_path: str | Path) -> bool:
    """Return whether a checkpoint is in a run folder, which may be reached through symbolic links."""
    path = Path(ckpt_path)
    return (run / "checkpoints").resolve() in (path.parent.resolve(), path.resolve().parent)


def newest_run(root: Path, name: str | None = None) -> Path | None:
    """Return the run ``name`` below ``root``, or without a name the ``version_N`` that was started last.

    Returns:
        The folder of the run. None if the run was never started.

    Raises:
        InputError: the name is invalid, or a symbolic link is broken.
    """
    if name is not None:
        _check_name(name)
        runs = [root / name]
    else:
        runs = [run for run in root.glob("version_*") if _number(run) is not None]
    newest_first = sorted(runs, key=lambda run: _number(run) or 0, reverse=True)
    return next((run for run in newest_first if _is_started(run)), None)


def _is_started(run: Path) -> bool:
    """Return whether a folder holds a run, which may have lost its configuration or its checkpoints.

    Raises:
        InputError: the folder or its checkpoints are a symbolic link to a folder that does not exist.
    """
    folder = run / "checkpoints"
    for link in (run, folder):
        if link.is_symlink() and not link.exists():
            raise InputError(
                f"{link}: this symbolic link leads to {link.readlink()}, which does not exist. Restore that folder, or "
                "delete the link to start again"
            )
    return folder.is_dir() or (run / _CONFIG).exists()


def newest_intact_checkpoint(run: Path) -> Path | None:
    """Return the newest intact checkpoint of ``run``, or None if the run has no checkpoints.

    Damaged checkpoints are reported and skipped.

    Raises:
        InputError: all checkpoints are damaged.
    """
    folder = run / "checkpoints"
    listed = [folder / entry.file for entry in read_manifest(folder).checkpoints]
    # Unlisted checkpoints are complete too, because a file gets its final name only after it is written.
    candidates = listed or checkpoint_files(folder)
    for path in reversed(candidates):
        if is_intact(path):
            return path
    if candidates:
        raise InputError(f"{folder}: every checkpoint is damaged or missing. Leave out --resume to start a new run")
    return None


def is_without_checkpointing(run: Path) -> bool:
    """Return whether the configuration of a run disables checkpoints."""
    try:
        config = load_yaml(read_text(run / _CONFIG, "Restore it", _MAX_BYTES))
        return config["trainer"]["enable_checkpointing"] is False
    except (InputError, yaml.YAMLError, LookupError, TypeError, ValueError, RecursionError):
        return False  # not a configuration that a run has written


@contextmanager
def claim(run: Path, is_resumed: bool) -> Iterator[None]:
    """Create ``run`` if needed and lock it for this process during the block; a killed process releases the lock too.

    Args:
        run: folder of the run.
        is_resumed: if True, the folder may already hold this run.

    Raises:
        InputError: another process trains in the folder, it already holds another run, or it holds a pipe or device.
    """
    if not is_resumed:
        _refuse_taken(run)
    make_folder(run)
    # filelock closes the file in forked children, so worker processes that outlive a killed parent hold no lock.
    # The fallback, a lock file that exists or not, would survive a kill.
    lock = FileLock(run / LOCK, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"{run}: another process uses this folder. Wait until it ends, or start a new run") from None
    except OSError as error:
        raise InputError(
            f"{run}: cannot lock the folder: {error.strerror}. Choose a folder on another file system with --log_dir"
        ) from None
    try:
        if not is_resumed:
            _refuse_taken(run)  # another process may have been faster
        _refuse_special_files(run)
        yield
    finally:
        lock.release()


def release_empty(run: Path) -> None:
    """Delete a run folder to which nothing has been written."""
    if run.is_dir() and _is_empty(run):
        shutil.rmtree(run, ignore_errors=True)


def delete_unfinished_checkpoints(root: Path) -> None:
    """Delete the unfinished checkpoints that killed processes left in runs below ``root``; skip runs in progress."""
    for folder in {path.parent for path in root.glob("*/checkpoints/.*.unfinished")}:
        with suppress(InputError), claim(folder.parent, is_resumed=True):
            delete_unfinished(folder)


def _is_empty(run: Path) -> bool:
    """Return whether a folder is missing or holds only the lock, which a process leaves that is killed early."""
    return not run.is_dir() or all(path.name == LOCK for path in run.iterdir())


def _refuse_taken(run: Path) -> None:
    if not _is_empty(run):
        raise InputError(
            f"{run} already holds a run. Choose another folder or version, or resume that run with --ckpt_path={run}"
        )


def _refuse_special_files(run: Path) -> None:
    """Refuse pipes and devices, because a logger that opens one in place of its file would wait without end."""
    for path in run.iterdir():
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(f"{path}: a pipe, a socket or a device, not a file of the run. Delete it")


def _cannot_write(folder: Path, error: OSError | ValueError) -> InputError:
    """Return the error for a folder that cannot be written to. Python raises ValueError for a NUL in a path."""
    return InputError(f"cannot write to {folder}: {getattr(error, 'strerror', error)}. Choose another folder")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"--name={name}: use at most 100 letters, digits, '_', '-' and '.', and start with a letter, a digit or '_'"
        )


def _number(run: Path) -> int | None:
    digits = run.name.removeprefix("version_")
    return int(digits) if run.name.startswith("version_") and digits.isdecimal() else None
