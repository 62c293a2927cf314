"""Plain values, the only ones in a checkpoint's hyper-parameters: numbers, strings, None, lists and dicts."""

from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

_IMPORT_KEYS: Final = frozenset({"class_path", "_class_path", "init_args", "dict_kwargs"})
"""Keys of a mapping that make jsonargparse import a class."""


def to_plain(value: Any, where: str) -> Any:
    """Return a constructor's argument converted to a plain value of built-in types.

    Args:
        value: argument.
        where: name of the argument, for the error.

    Raises:
        TypeError: the value has a type that a checkpoint cannot hold.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(asdict(value), where)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {str(key): to_plain(each, where) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each, where) for each in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):  # converts NumPy scalars, which a safe checkpoint reader refuses
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(
        f"{where} is a {type(value).__name__}, which a checkpoint cannot hold. Accept numbers, strings, lists, dicts "
        "with string keys, or a dataclass of these, and build the object from them in the constructor"
    )


def fits(value: Any, hint: Any) -> bool:
    """Return True if a value from a checkpoint is plain and safe to parse as the type of ``hint``.

    jsonargparse would import the class that a mapping names in ``class_path``. Where it expects a dataclass or a list,
    it would open the file that a string names. Such values do not fit.
    """
    if not _is_plain(value):
        return False
    configuration = dataclass_of(hint)
    if configuration is not None:
        names = {field.name for field in fields(configuration)}
        return (isinstance(value, dict) and set(value) <= names) or (value is None and type(None) in _parts(hint))
    if any(get_origin(part) is Literal and value in get_args(part) for part in _parts(hint)):
        return True
    kinds = {get_origin(part) or part for part in _parts(hint)}
    return not isinstance(value, str) or str in kinds or not kinds & {list, tuple, dict}


def dataclass_of(hint: Any) -> Any:
    """Return the dataclass in a type hint, such as ``LoRA`` in ``LoRA | None``, or None if there is none."""
    return next((part for part in _parts(hint) if is_dataclass(part)), None)


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return not _IMPORT_KEYS & set(value) and all(map(_is_plain, _keys_and_values(value)))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def _keys_and_values(mapping: dict[Any, Any]) -> Iterator[Any]:
    yield from mapping
    yield from mapping.values()
