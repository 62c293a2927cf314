"""Validation by a JSON schema: the keywords that ``gpt-lightning schema`` prints."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}
IGNORED: Final = {"$schema", "$defs", "title", "description", "default", "format"}
"""Keywords that describe a value."""


class Validator:
    """Validator of values by a schema.

    Args:
        schema: the schema. An unknown keyword raises a KeyError.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema

    def errors(self, value: Any, schema: Mapping[str, Any] | None = None, place: str = "") -> Iterator[str]:
        """Yield the place and the reason of each error."""
        schema = self.schema if schema is None else schema
        for keyword, wanted in schema.items():
            if keyword not in IGNORED:
                check = getattr(self, f"_{keyword.removeprefix('$')}", None)
                if check is None:
                    raise KeyError(keyword)
                yield from check(value, wanted, schema, place)

    def _ref(self, value: Any, wanted: str, _: Mapping[str, Any], place: str) -> Iterator[str]:
        yield from self.errors(value, self.schema["$defs"][wanted.removeprefix("#/$defs/")], place)

    def _type(self, value: Any, wanted: str | list[str], _: Mapping[str, Any], place: str) -> Iterator[str]:
        names = [wanted] if isinstance(wanted, str) else wanted
        is_bool = isinstance(value, bool)
        if not any(isinstance(value, _TYPES[name]) and (not is_bool or name == "boolean") for name in names):
            yield f"{place}: {value!r} is not of type {wanted}"

    def _enum(self, value: Any, wanted: list[Any], _: Mapping[str, Any], place: str) -> Iterator[str]:
        if value not in wanted:
            yield f"{place}: {value!r} is none of {wanted}"

    def _anyOf(self, value: Any, wanted: list[Any], _: Mapping[str, Any], place: str) -> Iterator[str]:  # noqa: N802
        found = [list(self.errors(value, each, place)) for each in wanted]
        if all(found):
            yield min(found, key=lambda errors: -len(errors[0].partition(":")[0]))[0]

    def _not(self, value: Any, wanted: Mapping[str, Any], _: Mapping[str, Any], place: str) -> Iterator[str]:
        if not list(self.errors(value, wanted, place)):
            yield f"{place}: {value!r} is not allowed"

    def _pattern(self, value: Any, wanted: str, _: Mapping[str, Any], place: str) -> Iterator[str]:
        if isinstance(value, str) and not re.search(wanted, value):
            yield f"{place}: {value!r} does not match {wanted}"

    def _properties(self, value: Any, wanted: Mapping[str, Any], _: Mapping[str, Any], place: str) -> Iterator[str]:
        for key, schema in wanted.items() if isinstance(value, dict) else ():
            if key in value:
                yield from self.errors(value[key], schema, f"{place}.{key}")

    def _additionalProperties(  # noqa: N802
        self, value: Any, wanted: Any, schema: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        for key in value.keys() - schema.get("properties", {}).keys() if isinstance(value, dict) else ():
            if wanted is False:
                yield f"{place}.{key}: unknown key"
            else:
                yield from self.errors(value[key], wanted, f"{place}.{key}")

    def _required(self, value: Any, wanted: list[str], _: Mapping[str, Any], place: str) -> Iterator[str]:
        if isinstance(value, dict) and (missing := set(wanted) - value.keys()):
            yield f"{place}: {missing} is missing"

    def _items(self, value: Any, wanted: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
        first = len(schema.get("prefixItems", []))
        for number, item in enumerate(value[first:] if isinstance(value, list) else []):
            if wanted is False:
                yield f"{place}: too many items"
            else:
                yield from self.errors(item, wanted, f"{place}[{first + number}]")

    def _prefixItems(self, value: Any, wanted: list[Any], _: Mapping[str, Any], place: str) -> Iterator[str]:  # noqa: N802
        for number, (item, schema) in enumerate(zip(value if isinstance(value, list) else [], wanted, strict=False)):
            yield from self.errors(item, schema, f"{place}[{number}]")

    def _minItems(self, value: Any, wanted: int, _: Mapping[str, Any], place: str) -> Iterator[str]:  # noqa: N802
        if isinstance(value, list) and len(value) < wanted:
            yield f"{place}: fewer than {wanted} items"
