"""Folder of a training run: its choice, and its lock until the run ends."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_only

from gpt_lightning.checkpoints.run_folder import (
    claim,
    delete_unfinished_checkpoints,
    holds_checkpoint,
    named_run,
    new_run,
    release_empty,
    resumed_run,
)
from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home


def experiment_folder(log_dir: str, experiment: str) -> Path:
    """Return the folder of an experiment, with ``~`` and environment variables expanded in ``log_dir``.

    Raises:
        InputError: the experiment is not a folder below ``log_dir``.
    """
    if Path(experiment).is_absolute() or ".." in Path(experiment).parts:
        raise InputError(
            f"--experiment={experiment} is not a folder below log_dir. Choose the folder of all experiments with "
            "--log_dir"
        )
    expanded = os.path.expandvars(log_dir)
    if "://" in expanded:
        raise InputError(f"--log_dir={log_dir} is the address of a server. Give a folder of this machine")
    if variable := re.search(r"\$\w+|\$\{", expanded):
        raise InputError(f"--log_dir={log_dir}: the environment variable {variable[0]} is not set. Set it")
    return expand_home(expanded) / experiment


@contextmanager
def own_folder(config: Namespace) -> Iterator[Path]:
    """Choose and create the folder of a run, and lock it during the block.

    If the block fails before anything is written to a new folder, the folder is deleted.

    Args:
        config: options of ``fit``.

    Raises:
        InputError: the folder holds another run, another process uses it, or it is not writable.
    """
    run, holds_this_run = _choose(config)
    is_writer = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    try:
        with claim(run, holds_this_run) if is_writer else nullcontext():
            yield run
    except BaseException:
        if is_writer:
            release_empty(run)
        raise


def _choose(config: Namespace) -> tuple[Path, bool]:
    """Return the folder of a run, and whether it may already hold this run."""
    root = experiment_folder(config.log_dir, config.experiment)
    delete_unfinished_checkpoints(root)
    ckpt_path, name = config.ckpt_path, config.name
    if name is None:
        run = None if ckpt_path is None else resumed_run(ckpt_path, root)
        return (new_run(root), False) if run is None else (run, True)
    if ckpt_path is not None and holds_checkpoint(root / name, ckpt_path):
        return root / name, True
    # A named run that was killed before its first checkpoint starts again in its folder.
    may_hold_it = config.resume == "auto" and ckpt_path is None
    return named_run(root, name, may_hold_it), may_hold_it
