"""Guard against checkpoints that make Lightning import a class; ``tasks/load.py`` chooses the class of a task."""

import pickletools
import zipfile
from pathlib import Path
from typing import Final

from gpt_lightning.bounded_files import open_regular
from gpt_lightning.errors import InputError

MAX_BYTES: Final = 2**24
"""Size limit of the pickle that is searched. It holds names, shapes and hyper-parameters, but no tensors."""
_NAMES: Final = ("_class_path", "_instantiator")
"""Keys among hyper-parameters whose values Lightning imports."""


def refuse_class_of_checkpoint(model: Path) -> None:
    """Refuse a checkpoint, or a run folder with one, that names a class to import. Loading finds other damage.

    Raises:
        InputError: the checkpoint names a class.
    """
    for path in [model] if _is_file(model) else sorted(model.glob("checkpoints/*.ckpt")):
        if (name := _class_of(path)) is not None:
            raise InputError(
                f"{path}: its hyper-parameters have the key {name}, which could run any code. Use another checkpoint"
            )


def _class_of(path: Path) -> str | None:
    """Return the key whose value Lightning would import; None without one. The pickle is parsed, never executed."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
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
