"""List of a run's checkpoints with their SHA-256 digests, and verification of a file before it is loaded.

``manifest.json`` is in the folder of the checkpoints. A checkpoint is listed only after it is completely written.
"""

import itertools
import json
import re
import zipfile
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, Self

from gpt_lightning.atomic_files import atomic_write, json_sha256, sha256
from gpt_lightning.errors import InputError

FILE: Final = "manifest.json"
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


@dataclass(frozen=True)
class Manifest:
    """Checkpoints of a run."""

    checkpoints: tuple[Entry, ...] = ()
    """Checkpoints in the order in which they were written."""
    best: str | None = None
    """File name of the best checkpoint, or None before the first validation."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest in ``folder``; without a file, return an empty manifest.

        Raises:
            InputError: the manifest is damaged.
        """
        path = folder / FILE
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(path, error) from None
        try:
            content = json.loads(text)
            digest = content.pop("sha256")
            found = cls(tuple(Entry(**each) for each in content["checkpoints"]), content["best"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, error) from None
        # Files are deleted when they leave the list, so no name may point outside of the folder.
        if not all(_CHECKPOINT.fullmatch(entry.file) for entry in found.checkpoints):
            raise _damaged(path, "it lists files that are not checkpoints")
        if digest != json_sha256(content):
            raise _damaged(path, "its checksum differs")
        return found

    def write(self, folder: Path) -> None:
        """Write the manifest to ``folder``, replacing the previous one atomically."""
        content = asdict(self)
        with atomic_write(folder / FILE) as file:
            file.write(json.dumps(content | {"sha256": json_sha256(content)}, indent=1).encode() + b"\n")

    def named(self, file: str | None) -> Entry | None:
        """Return the entry of the file called ``file``, or None if it is not listed."""
        return next((entry for entry in self.checkpoints if entry.file == file), None)

    def free_name(self, step: int) -> str:
        """Return an unused file name for a checkpoint of ``step``, so that no listed checkpoint is overwritten."""
        names = (f"step_{step}{f'-{number}' if number else ''}.ckpt" for number in itertools.count())
        return next(name for name in names if self.named(name) is None)

    def with_entry(self, entry: Entry, is_best: bool, keep: int) -> Self:
        """Return the manifest of the ``keep`` newest checkpoints, of which ``entry`` is one, and the best checkpoint.

        An entry of the same step is replaced, because it has the same weights.

        Args:
            entry: newest checkpoint.
            is_best: if True, ``entry`` is the best checkpoint.
            keep: number of newest checkpoints to keep.
        """
        previous_best = self.named(self.best)
        best = entry.file if is_best or (previous_best is not None and previous_best.step == entry.step) else self.best
        others = [each for each in self.checkpoints if each.step != entry.step]
        newest = [*others, entry][-keep:]
        return replace(
            self, checkpoints=tuple(each for each in [*others, entry] if each in newest or each.file == best), best=best
        )


def entry_of(path: Path) -> Entry:
    """Return the manifest entry of the checkpoint file ``path``."""
    return Entry(path.name, parse_name(path)[0], path.stat().st_size, sha256(path))


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
        stat = path.stat()
        _verify(path.resolve(), stat.st_size, stat.st_mtime_ns)
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
    entry = Manifest.read(path.parent).named(path.name)
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


def _damaged(path: Path, reason: object) -> InputError:
    return InputError(f"{path}: damaged ({reason}). Give one of the checkpoint files in its folder instead of the run")
