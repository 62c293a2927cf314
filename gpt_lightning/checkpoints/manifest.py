"""List of a run's checkpoints with their SHA-256 digests, and verification of a file before it is loaded.

``manifest.json`` is in the folder of the checkpoints. A checkpoint is listed only after it is completely written.
"""

import itertools
import json
import re
import stat
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

from gpt_lightning.atomic_files import atomic_write, json_sha256, sha256
from gpt_lightning.bounded_files import read_json_object
from gpt_lightning.errors import InputError
from gpt_lightning.printable import printable

FILE: Final = "manifest.json"
_MAX_BYTES: Final = 1 << 24
"""Size limit of a manifest, which has about 150 bytes for each checkpoint."""
REMEDY: Final = "The list of checkpoints is rebuilt from the files"
_CHECKPOINT: Final = re.compile(r"step_([0-9]+)(?:-([0-9]+))?\.ckpt")


@dataclass(frozen=True)
class Entry:
    """Checkpoint in the manifest."""

    file: str
    """Name of the file, in the folder of the manifest."""
    step: int
    """Optimizer steps before it was saved."""
    size: int
    """Size in bytes."""
    sha256: str
    """SHA-256 hex digest."""

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Make an entry from its JSON object.

        Raises:
            ValueError: the value is not an entry of a checkpoint.
        """
        try:
            entry = cls(**value)
        except TypeError as error:
            raise ValueError(str(error)) from None
        # Files are deleted when they leave the list, so no name may point outside of the folder.
        if not is_checkpoint_name(entry.file):
            raise ValueError("it lists files that are not checkpoints")
        if type(entry.step) is not int or type(entry.size) is not int or type(entry.sha256) is not str:
            raise ValueError(f"the entry of {entry.file} has values of wrong types")
        return entry


@dataclass(frozen=True)
class Manifest:
    """Checkpoints of a run."""

    checkpoints: tuple[Entry, ...] = ()
    """Checkpoints in the order in which they were written."""
    best: str | None = None
    """File name of the best checkpoint, or None before the first validation."""
    unlisted: tuple[str, ...] = ()
    """Names of the run's other files: a checkpoint that is being written, and replaced ones, which may be deleted."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest in ``folder``; without a file, return an empty manifest.

        Raises:
            InputError: the manifest is damaged.
        """
        path = folder / FILE
        if not path.exists() and not path.is_symlink():
            return cls()
        content = read_json_object(path, REMEDY, _MAX_BYTES)
        try:
            digest = content.pop("sha256", None)
            found = cls._from_json(content)
            if digest != json_sha256(content):
                raise ValueError("its checksum differs")
        except ValueError as error:
            raise InputError(f"{path}: damaged ({error}). {REMEDY}") from None
        return found

    @classmethod
    def _from_json(cls, content: Mapping[str, Any]) -> Self:
        entries, best = content.get("checkpoints"), content.get("best")
        unlisted = content.get("unlisted", [])  # manifests before version 0.3 have none
        if not isinstance(entries, list) or not isinstance(unlisted, list):
            raise ValueError("it has no list of checkpoints")
        found = cls(tuple(map(Entry.from_json, entries)), best, tuple(unlisted))
        if not all(is_checkpoint_name(name) and found.named(name) is None for name in unlisted):
            raise ValueError("it lists files that are not checkpoints")
        if best is not None and found.named(best) is None:
            raise ValueError("its best checkpoint is not in the list")
        return found

    def write(self, folder: Path) -> None:
        """Write the manifest to ``folder``, replacing the previous one atomically."""
        content = asdict(self)
        with atomic_write(folder / FILE) as file:
            file.write(json.dumps(content | {"sha256": json_sha256(content)}, indent=1).encode() + b"\n")

    def named(self, file: str | None) -> Entry | None:
        """Return the entry of the file called ``file``, or None if it is not listed."""
        return next((entry for entry in self.checkpoints if entry.file == file), None)

    def free_name(self, step: int, folder: Path) -> str:
        """Return an unused file name for a checkpoint of ``step`` in ``folder``, so that no file is overwritten."""
        names = (f"step_{step}{f'-{number}' if number else ''}.ckpt" for number in itertools.count())
        return next(name for name in names if self.named(name) is None and not (folder / name).exists())

    def with_entry(self, entry: Entry, best_step: int | None, keep: int) -> Self:
        """Return the manifest of the ``keep`` newest checkpoints, of which ``entry`` is one, and the best checkpoint.

        An entry of the same step is replaced, because it has the same weights. Entries that leave the list become
        ``unlisted``.

        Args:
            entry: newest checkpoint.
            best_step: step of the best checkpoint; if it is None or not listed, the best checkpoint stays.
            keep: number of newest checkpoints to keep.
        """
        entries = [*(each for each in self.checkpoints if each.step != entry.step), entry]
        previous = self.named(self.best)
        steps = [best_step, *([previous.step] if previous is not None else [])]
        best = next((each.file for step in steps for each in reversed(entries) if each.step == step), None)
        kept = tuple(each for each in entries if each in entries[-keep:] or each.file == best)
        replaced = tuple(each.file for each in self.checkpoints if each not in kept)
        return type(self)(kept, best, replaced)


def entry_of(path: Path) -> Entry:
    """Return the manifest entry of the checkpoint file ``path``."""
    return Entry(path.name, parse_name(path)[0], path.stat().st_size, sha256(path))


def is_checkpoint_name(name: object) -> bool:
    """Return whether a value is the file name of a checkpoint."""
    return isinstance(name, str) and _CHECKPOINT.fullmatch(name) is not None


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the checkpoint files in ``folder``, listed or not, by their steps."""
    return sorted((path for path in folder.glob("step_*") if is_checkpoint_name(path.name)), key=parse_name)


def parse_name(path: Path) -> tuple[int, int]:
    """Return the step in a checkpoint's file name, and its number among the checkpoints of that step."""
    match = _CHECKPOINT.fullmatch(path.name)
    assert match is not None
    return int(match[1]), int(match[2] or 0)


def verify(path: Path) -> None:
    """Compare a checkpoint with its digest in the manifest; if it is not listed, check the checksums inside it.

    An unchanged file is read only once per process.

    Raises:
        InputError: the checkpoint is damaged or cannot be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: not a regular file. Use another checkpoint of the run")
        _verify(path.resolve(), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}). Check the path and its permissions"
        ) from None
    except _DamagedError as error:
        raise InputError(f"{path}: damaged: {error}. Use another checkpoint of the run") from None


class _DamagedError(Exception):
    pass


@lru_cache(maxsize=64)
def _verify(path: Path, size: int, _mtime_ns: int) -> None:
    try:
        entry = Manifest.read(path.parent).named(path.name)
    except InputError as error:
        notice(str(error))
        entry = None
    if entry is None:
        _verify_zip(path)
        return
    if size != entry.size:
        raise _DamagedError(f"it has {size:,} bytes instead of {entry.size:,}")
    if sha256(path) != entry.sha256:
        raise _DamagedError(f"its SHA-256 differs from the one in {FILE}")


def _verify_zip(path: Path) -> None:
    """Verify the checksums of a torch file's members, which torch ignores: the file is a zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _DamagedError(f"truncated, or not a checkpoint ({error})") from None
    if damaged is not None:
        raise _DamagedError(f"the checksum of its member {damaged} differs")


@lru_cache(maxsize=64)
def notice(line: str) -> None:
    """Print a line to standard error, once per process, as several functions may look at the same files."""
    print(printable(line), file=sys.stderr, flush=True)
