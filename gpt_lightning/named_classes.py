"""Import of the classes that a checkpoint names, limited to this package and the packages that the user allows."""

import importlib
from collections.abc import Sequence

from gpt_lightning.errors import InputError


def is_ours(path: str) -> bool:
    """Return whether a class path belongs to this package. Version 0.1 wrote bare class names."""
    return path.rpartition(".")[0].partition(".")[0] in ("", "gpt_lightning")


def is_allowed(path: str, allow_import: Sequence[str]) -> bool:
    """Return whether a class path is one of the allowed names, or inside an allowed package, module or class."""
    return any(f"{path}.".startswith(f"{allowed}.") for allowed in allow_import)


def import_named(path: str, what: str) -> object:
    """Import the object at a class path that the user allows.

    Args:
        path: the class path.
        what: name of this part of the checkpoint, for messages.

    Returns:
        The object, or None if the module does not define it.

    Raises:
        InputError: the module cannot be imported.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise InputError(
            f"the {what} of the checkpoint, {path}, cannot be imported: {error}. Install {module.partition('.')[0]}, "
            "or run in the folder that contains it"
        ) from error
