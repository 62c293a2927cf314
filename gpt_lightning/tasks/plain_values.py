"""Plain values, which checkpoints hold: numbers, strings, None, and lists and dicts of them."""

from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

_LOOKED_UP: Final = frozenset({"class_path", "_class_path", "init_args", "dict_kwargs"})
"""Keys of a mapping that a parser would import something for."""


def to_plain(value: Any, where: str) -> Any:
    """Return a constructor's argument as a plain value of exactly Python's own types.

    Raises:
        TypeError: a checkpoint cannot hold it.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(asdict(value), where)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {str(key): to_plain(each, where) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each, where) for each in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):  # NumPy's scalars are subclasses, which no checkpoint can be read with
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(
        f"{where} is a {type(value).__name__}, which a checkpoint cannot hold: take numbers, strings, lists, dicts "
        "with strings as keys, or a dataclass of these, and build the object from them in the constructor"
    )


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value from a checkpoint is plain and of the kind of a type hint.

    A parser would import a mapping with a class path, and open the file that a string names in the place of a
    configuration or a list.
    """
    if not _is_plain(value):
        return False
    configuration = dataclass_of(hint)
    if configuration is not None:
        names = {field.name for field in fields(configuration)}
        return (isinstance(value, dict) and set(value) <= names) or (value is None and type(None) in _parts(hint))
    kinds = {get_origin(part) or part for part in _parts(hint)}
    return not isinstance(value, str) or str in kinds or not kinds & {list, tuple, dict}


def dataclass_of(hint: Any) -> Any:
    """Return the dataclass in a type hint, such as ``Pool`` in ``Pool | None``; None if there is none."""
    return next((part for part in _parts(hint) if is_dataclass(part)), None)


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return not _LOOKED_UP & set(value) and all(map(_is_plain, _keys_and_values(value)))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def _keys_and_values(mapping: dict[Any, Any]) -> Iterator[Any]:
    yield from mapping
    yield from mapping.values()
