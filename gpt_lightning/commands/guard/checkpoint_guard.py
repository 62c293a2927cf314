"""Refusal of checkpoints that tell Lightning to import a class; ``tasks/load.py`` chooses the class of a task."""

import pickletools
import zipfile
from pathlib import Path
from typing import Final

from gpt_lightning.errors import InputError

MAX_BYTES: Final = 2**24
"""Names, shapes and hyper-parameters; tensors lie elsewhere in the file."""
_NAMES: Final = ("_class_path", "_instantiator")
"""What Lightning puts beside hyper-parameters, and imports."""


def refuse_class_of_checkpoint(model: Path) -> None:
    """Refuse a checkpoint, or a run's folder with one, that says what to import; other damage is found later.

    Raises:
        InputError: it does.
    """
    for path in [model] if _is_file(model) else sorted(model.glob("checkpoints/*.ckpt")):
        if (name := _class_of(path)) is not None:
            raise InputError(f"{path}: its hyper-parameters have {name}; a checkpoint imports nothing here")


def _class_of(path: Path) -> str | None:
    """The key in a checkpoint that Lightning would import the value of; its pickle is read, not run."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith("/data.pkl") and archive.getinfo(member).file_size < MAX_BYTES:
                    for _, argument, _ in pickletools.genops(archive.read(member)):
                        if argument in _NAMES:
                            return str(argument)
    except (OSError, ValueError, zipfile.BadZipFile, zipfile.LargeZipFile, RuntimeError):
        return None
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
