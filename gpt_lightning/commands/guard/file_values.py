"""Values that a YAML file may not have, because a stranger's file could then write anywhere or upload a run."""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Final

from gpt_lightning.errors import InputError

_LOGGER: Final = ("trainer", "logger")
_PATHS: Final = ("save_dir", "name", "sub_dir", "log_dir", "logdir", "filename_suffix")
"""Arguments of the loggers from which they make the path of their folder."""
_FLAG_ONLY: Final = {
    (*_LOGGER, "version"): "could choose the folder of another run",
    ("trainer", "model_registry"): "would upload checkpoints",
}
_NULL: Final = ("", "~", "null", "none")
_EXPANDED: Final = ("$", "%", "://", "::")
"""Texts that Lightning replaces by a variable, or reads as the address of a remote file system."""


def refuse_value(key: tuple[str, ...], value: str, where: str) -> None:
    """Refuse a value in a file that only a flag may set.

    Args:
        key: parts of its key.
        value: the value, as it is written in the file.
        where: file, line and key, for messages.

    Raises:
        InputError: only a flag may set this value.
    """
    short = tuple(part for part in key if part not in ("init_args", "dict_kwargs"))
    is_path = short == ("trainer", "default_root_dir") or (short[:2] == _LOGGER and short[-1] in _PATHS)
    if value.lower() in _NULL:
        return
    if is_path and not is_contained(value):
        raise InputError(
            f"{where}: {value} could lie outside of this folder. In a file, give a relative path without '..', "
            "or give this path as a flag"
        )
    if short in _FLAG_ONLY:
        raise InputError(f"{where}: {value} {_FLAG_ONLY[short]}. Remove it here, or give it as a flag")


def is_contained(path: str) -> bool:
    """Return whether a path stays below the folder that it starts from."""
    parts = PureWindowsPath(path).parts  # splits at both kinds of slashes
    is_absolute = PurePosixPath(path).is_absolute() or bool(PureWindowsPath(path).anchor)
    has_expansion = path.strip().startswith("~") or any(text in path for text in _EXPANDED)
    return not is_absolute and not has_expansion and ".." not in parts
