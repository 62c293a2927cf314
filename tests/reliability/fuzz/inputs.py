"""One input of the fuzzer: a command line and the files that it reads."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path


class Odd(Enum):
    """Kind of file that is not a readable regular file."""

    MISSING = auto()
    FOLDER = auto()
    PIPE = auto()
    LOOP = auto()
    DANGLING = auto()
    ZERO = auto()
    FULL = auto()
    UNREADABLE = auto()

    def write(self, path: Path) -> None:
        """Put such a file at ``path``, where nothing is."""
        targets = {Odd.LOOP: path.name, Odd.DANGLING: "nothing", Odd.ZERO: "/dev/zero", Odd.FULL: "/dev/full"}
        if self in targets:
            path.symlink_to(targets[self])
        elif self is Odd.FOLDER:
            path.mkdir()
        elif self is Odd.PIPE:
            os.mkfifo(path)
        elif self is Odd.UNREADABLE:
            path.touch(mode=0)


Content = bytes | Odd

ODD_FILES: Mapping[str, Content] = {
    "odd/folder": Odd.FOLDER,
    "odd/pipe": Odd.PIPE,
    "odd/loop": Odd.LOOP,
    "odd/dangling": Odd.DANGLING,
    "odd/zero": Odd.ZERO,
    "odd/full": Odd.FULL,
    "odd/unreadable": Odd.UNREADABLE,
    "odd/empty": b"",
    "odd/empty.jsonl": b"",
    "odd/binary": bytes(range(256)),
}
"""Files that every input's folder holds, so that options can name them."""


@dataclass(frozen=True)
class Input:
    """Command line and changed files.

    Attributes:
        arguments: command of gpt-lightning and its options.
        files: path in the folder -> content, in the order of writing; the other files are those of the world.
        stdin: content of standard input.
        is_valid: True if the command must succeed.
    """

    arguments: tuple[str, ...]
    files: Mapping[str, Content] = field(default_factory=dict)
    stdin: bytes = b""
    is_valid: bool = False

    def write(self, world: Path, folder: Path) -> None:
        """Copy the world to the new ``folder`` and change its files."""
        shutil.copytree(world, folder, symlinks=True)
        for name, content in {**ODD_FILES, **self.files}.items():
            path = folder / name
            if any(os.path.lexists(each) and not each.is_dir() for each in path.parents):
                continue  # an earlier change has replaced the folder
            _remove(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                content.write(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
