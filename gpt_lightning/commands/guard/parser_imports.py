"""Limit on what jsonargparse may import for a value, wherever the value comes from.

jsonargparse checks this limit before it imports a dotted name, also for values that ``config_guard.py`` does not see,
such as those of a checkpoint. It checks both the given name and the name under which the object is defined:
``torch.os.system`` is ``posix.system``.
"""

import contextlib
import importlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

from jsonargparse import set_parsing_settings

from gpt_lightning.commands.guard.allowed_classes import PARTS, names_of, slots

_DENIED: Final = re.compile(r"Importing '([^']*)' is not allowed")
"""Message of jsonargparse for an import that ``importing_only`` forbids."""


@contextlib.contextmanager
def importing_only(own: Sequence[str] = (), harmless: Sequence[str] = ()) -> Iterator[None]:
    """Forbid parsers to import anything but the listed classes and what the user allows.

    Args:
        own: packages, modules, classes and functions that ``--allow_import`` names.
        harmless: dotted values that name no installed package.
    """
    own = [*own, *filter(None, map(_definition, own))]
    names = {
        name: path
        for path in (*PARTS, *(path for slot in slots().values() for path in slot.classes))
        for name in names_of(path)
        if "." in name
    }
    set_parsing_settings(
        import_path_denylist=["*", *(f"{name}.{member}" for name, path in names.items() for member in _members(path))],
        import_path_allowlist=[*names, *own, *harmless],
        instantiate_subclass_spec_in_any=False,
        config_read_mode_fsspec_enabled=False,  # Lightning allows configurations from URLs, which are not checked
    )
    try:
        yield
    finally:
        # Lists can only grow. A name that is allowed again later wins over its entry here.
        set_parsing_settings(import_path_denylist=[*own, *harmless])


def denied_name(message: str) -> str | None:
    """Return the name in a message of jsonargparse that forbids an import; None for other messages."""
    match = _DENIED.search(message)
    return None if match is None else match[1]


@cache
def _members(path: str) -> tuple[str, ...]:
    """Return the members of a class that jsonargparse would allow with the class.

    Those that it inherits from Python classes have a path of their own, which is not allowed.
    """
    module, _, name = path.rpartition(".")
    return (*vars(getattr(importlib.import_module(module), name)), *dir(type))


def _definition(name: str) -> str | None:
    """Return the path at which an allowed class or function is defined; None for a module or an unknown name."""
    module, _, attribute = name.rpartition(".")
    try:
        found: Any = getattr(importlib.import_module(module), attribute, None) if module else None
    except ImportError:
        return None
    place, qualified = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    return f"{place}.{qualified}" if place and qualified and all(map(str.isidentifier, qualified.split("."))) else None
