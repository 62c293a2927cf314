"""Messages for classes and functions that a configuration may not name."""

import difflib
from typing import Final

from gpt_lightning.commands.guard.allowed_classes import Slot

ALLOW: Final = "allow_import"
_PARTLY_LISTED: Final = ("gpt_lightning", "lightning", "torch", "torchmetrics")
"""Packages of which ``--allow_import`` should name single classes, because they also have functions that run code."""


def refused(name: str) -> str:
    """Return why a dotted name is refused, and the flag that allows it."""
    root = name.split(".")[0]
    if root in _PARTLY_LISTED:
        return f"{name} is not a class that is allowed here. Add --{ALLOW} {name} if you trust its code"
    return f"{name} would import {root}, which is not allowed. Add --{ALLOW} {root} if you trust its code"


def refused_bare(name: str, slot: Slot | None) -> str:
    """Return why the bare name of a class is refused, with the nearest allowed one, and the flag that allows it."""
    home, listed = ("", ()) if slot is None else (slot.home, [path.rpartition(".")[2] for path in slot.classes])
    near = difflib.get_close_matches(name, listed, n=1, cutoff=0.75)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    if home and not name[0].isupper():
        return f"{name} is not a class. The classes are {', '.join(sorted(listed))}"
    if home:
        return f"{name} is not a class that is allowed here{hint} Add --{ALLOW} {home}.{name} if you trust its code"
    if not listed:
        return (
            f"{name} is not allowed here, because this key takes no class. Remove it, or give the full name, such as "
            f"my_package.{name}, and add --{ALLOW} my_package"
        )
    return (
        f"{name} is not a class that is allowed here{hint} The classes are {', '.join(sorted(listed))}. "
        f"A class of your own needs its full name, such as my_package.{name}, and --{ALLOW} my_package"
    )
