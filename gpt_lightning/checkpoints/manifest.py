"""The list of a run's checkpoints with their SHA-256 digests, and the check of a file before it is loaded.

``manifest.json`` lies beside the checkpoints and is written after them: what it lists is complete.
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
    """A checkpoint: its file in the manifest's folder, the optimizer steps it stands for, its size and its sha256."""

    file: str
    step: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The checkpoints of a run in the order they were written, and which of them is the best."""

    checkpoints: tuple[Entry, ...] = ()
    best: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest in ``folder``; an empty one where there is none.

        Raises:
            InputError: it is damaged.
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
        # What is no longer listed is deleted: a name must not lead out of the folder.
        if not all(_CHECKPOINT.fullmatch(entry.file) for entry in found.checkpoints):
            raise _damaged(path, "it lists files that are no checkpoints")
        if digest != json_sha256(content):
            raise _damaged(path, "its checksum differs")
        return found

    def write(self, folder: Path) -> None:
        """Replace the manifest in ``folder``."""
        content = asdict(self)
        with atomic_write(folder / FILE) as file:
            file.write(json.dumps(content | {"sha256": json_sha256(content)}, indent=1).encode() + b"\n")

    def named(self, file: str | None) -> Entry | None:
        """The entry of ``file``, where it is listed."""
        return next((entry for entry in self.checkpoints if entry.file == file), None)

    def free_name(self, step: int) -> str:
        """A name for a checkpoint of ``step`` that none has: what is listed is never written over."""
        names = (f"step_{step}{f'-{number}' if number else ''}.ckpt" for number in itertools.count())
        return next(name for name in names if self.named(name) is None)

    def with_entry(self, entry: Entry, is_best: bool, keep: int) -> Self:
        """With ``entry`` as the newest, and of the others the newest and the best: ``keep`` beside the best.

        One of the same step is replaced: the weights are the same.
        """
        before = self.named(self.best)
        best = entry.file if is_best or (before is not None and before.step == entry.step) else self.best
        others = [each for each in self.checkpoints if each.step != entry.step]
        newest = [*others, entry][-keep:]
        return replace(
            self, checkpoints=tuple(each for each in [*others, entry] if each in newest or each.file == best), best=best
        )


def entry_of(path: Path) -> Entry:
    """What the manifest would say of ``path``, as it is now."""
    return Entry(path.name, place(path)[0], path.stat().st_size, sha256(path))


def place(path: Path) -> tuple[int, int]:
    """The step of a checkpoint by its name, and its number among those of the step."""
    match = _CHECKPOINT.fullmatch(path.name)
    assert match is not None
    return int(match[1]), int(match[2] or 0)


def verify(path: Path) -> None:
    """Compare a checkpoint's bytes with the manifest beside it; one that stands alone with the checksums inside it.

    Reads the file once, whoever asks.

    Raises:
        InputError: it is damaged.
    """
    try:
        stat = path.stat()
        _verify(path.resolve(), stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except _DamagedError as error:
        raise InputError(f"{path}: damaged: {error}") from None


class _DamagedError(Exception):
    pass


@lru_cache(maxsize=64)
def _verify(path: Path, size: int, _mtime_ns: int) -> None:
    entry = Manifest.read(path.parent).named(path.name)
    if entry is None:
        _verify_alone(path)
        return
    if size != entry.size:
        raise _DamagedError(f"it has {size:,} bytes, {entry.size:,} were written")
    if sha256(path) != entry.sha256:
        raise _DamagedError(f"its sha256 is not the one in {FILE}")


def _verify_alone(path: Path) -> None:
    """A torch file is a zip archive, whose members have checksums that torch does not look at."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _DamagedError(f"truncated, or not a checkpoint ({error})") from None
    if damaged is not None:
        raise _DamagedError(f"the checksum of {damaged} in it differs")


def _damaged(path: Path, reason: object) -> InputError:
    return InputError(f"{path}: damaged ({reason}); name one of the checkpoints beside it")
