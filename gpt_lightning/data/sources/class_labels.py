"""Names of class labels, which ``datasets`` stores once per column while the rows hold numbers."""

from collections.abc import Mapping
from typing import Any

Names = dict[str, list[str]]
"""Column of numbers, or of lists of numbers -> name of each number."""


class ClassName(str):
    """Name of a class label."""

    __slots__ = ("number",)

    number: int
    """The number of the label in the file."""


def class_names(features: Any) -> Names:
    """Return the columns of class labels in a description of columns, as of ``datasets.Features.to_dict``."""
    found: Names = {}
    for column, feature in features.items() if isinstance(features, Mapping) else ():
        inner = feature
        while isinstance(inner, Mapping | list) and "names" not in inner:  # a sequence of labels
            inner = (inner[0] if inner else None) if isinstance(inner, list) else inner.get("feature")
        if isinstance(inner, Mapping) and inner.get("_type") == "ClassLabel" and isinstance(inner["names"], list):
            found[column] = [str(name) for name in inner["names"]]
    return found


def with_class_names(fields: dict[str, Any], names: Names) -> dict[str, Any]:
    """Return the fields of a row with names in place of the numbers of class labels."""
    if not names:
        return fields
    return {column: _with_names(value, names[column]) if column in names else value for column, value in fields.items()}


def _with_names(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_with_names(item, names) for item in value]
    if not isinstance(value, int) or value >= len(names):
        return value
    if value < 0:  # a missing label
        return None
    name = ClassName(names[value])
    name.number = value
    return name
