"""Comparison of plain values, as files hold them, with type hints."""

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin


def has_type(value: Any, hint: Any) -> bool:
    """Return whether a number, string, boolean or None is of the type ``hint``; integers are accepted for floats."""
    if get_origin(hint) in (Union, UnionType):
        return any(has_type(value, each) for each in get_args(hint))
    if get_origin(hint) is Literal:
        return type(value) is str and value in get_args(hint)
    return type(value) is hint or (hint is float and type(value) is int)
