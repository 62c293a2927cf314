"""Refusal of values that jsonargparse accepts for any type: null, and scalars in place of a group of arguments."""

from types import NoneType
from typing import Any, get_args

from jsonargparse import ArgumentParser, Namespace

from gpt_lightning.errors import InputError
from gpt_lightning.tasks.saving import arguments_of


def refuse_wrong_types(parser: ArgumentParser, values: Namespace, prefix: str = "") -> None:
    """Refuse null for arguments that have a value, and a single value for a group of arguments.

    Args:
        parser: the parser of the arguments.
        values: the parsed values.
        prefix: the key of ``values`` in the configuration, with a dot at its end.

    Raises:
        InputError: an argument has such a value.
    """
    actions = {action.dest: action for action in parser._actions if not action.dest.endswith(".help")}
    for key, action in actions.items():
        if key not in values:
            continue
        value = values[key]
        inner = next((other for other in actions if other.startswith(f"{key}.")), None)
        if inner is not None:
            if not isinstance(value, Namespace):
                raise InputError(
                    f"{prefix}{key} is {_repr(value)}, but it is a group of keys. "
                    f"Leave it out, or set its keys, such as {prefix}{inner}"
                )
        elif value is None and not _accepts_null(getattr(action, "_typehint", action.type)):
            raise InputError(f"{prefix}{key} is null, but it needs a value. Leave it out to take its default")


def refuse_wrong_types_of_class(owner: type, part: Any, key: str) -> None:
    """Refuse such values among the arguments of a class.

    Args:
        owner: the class.
        part: its values: a namespace with ``init_args``.
        key: the key of the class in the configuration, such as ``model``.

    Raises:
        InputError: an argument has such a value.
    """
    arguments = part.get("init_args")
    if isinstance(arguments, Namespace):
        refuse_wrong_types(arguments_of(owner), arguments, f"{key}.")
    elif arguments is not None:
        raise InputError(f"{key}.init_args is {_repr(arguments)}, but it is a group of keys. Write one key a line")


def _accepts_null(typehint: Any) -> bool:
    return typehint in (None, Any, NoneType) or any(map(_accepts_null, get_args(typehint)))


def _repr(value: object) -> str:
    return "null" if value is None else repr(value)[:100]
