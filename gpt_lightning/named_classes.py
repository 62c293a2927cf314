"""Classes that a checkpoint names by their paths: whose they are, whether they may be imported, and importing them."""

import importlib
from collections.abc import Sequence

from gpt_lightning.errors import InputError


def is_ours(path: str) -> bool:
    """Return whether a class path leads into this package; version 0.1 wrote the bare names of its classes."""
    return path.rpartition(".")[0].partition(".")[0] in ("", "gpt_lightning")


def is_allowed(path: str, allow_import: Sequence[str]) -> bool:
    """Return whether the module of a class path is one of the packages that the user allows, or inside of one."""
    module = path.rpartition(".")[0]
    return any(f"{module}.".startswith(f"{allowed}.") for allowed in allow_import)


def import_named(path: str, what: str) -> object:
    """Import what a path that is allowed leads to; None if its module has no such name.

    Args:
        path: the class path.
        what: the part of the checkpoint that it is, for messages.

    Raises:
        InputError: the module cannot be imported.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise InputError(
            f"the {what} is {path}, which cannot be imported: {error}. Run where {module.partition('.')[0]} is found"
        ) from error
