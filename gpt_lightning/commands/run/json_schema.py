"""JSON schema of a configuration, from the parser of ``fit`` and the classes that it may name."""

import argparse
from typing import Any, Final

from jsonargparse._completions_jsonschema import ParserJsonschema, anyof_schema

from gpt_lightning.commands.guard.allowed_classes import names_of, slots
from gpt_lightning.commands.guard.parser_imports import importing_only
from gpt_lightning.commands.run.classes import class_at
from gpt_lightning.commands.run.subcommand_parsers import subcommand_parsers

_TITLE: Final = "Configuration of gpt-lightning"
_NOT_IN_FILES: Final = ("allow_import", "print_config")
"""Options of the command line only."""


def json_schema() -> dict[str, Any]:
    """Return the schema of a configuration of ``fit``; files may leave out any key."""
    with importing_only():
        schema: dict[str, Any] = _ConfigurationSchema().generate(subcommand_parsers()["fit"])  # type: ignore[no-untyped-call]
    schema.pop("required", None)  # several files may make up a configuration
    for name in _NOT_IN_FILES:
        schema["properties"].pop(name, None)
    return schema | {"title": _TITLE}


class _ConfigurationSchema(ParserJsonschema):
    """Schema in which classes are those that need no ``--allow_import``, or have a path outside of this list."""

    def class_parser_schema(self, class_type: Any, action: argparse.Action, description: str | None = None) -> Any:
        """Return the schema of the arguments of a class; a YAML file may hold those of a group, such as backbone."""
        schema = super().class_parser_schema(class_type, action, description)
        for each in schema.get("properties", {}).values():
            if each.get("type") == "object" and "properties" in each:
                each["type"] = ["object", "string"]
        return schema

    def subclass_def(self, class_type: type[Any], action: argparse.Action) -> dict[str, Any]:
        """Return the schema of the listed classes of a kind, by each of their names, and of the user's own."""
        paths = dict.fromkeys(path for slot in slots().values() for path in slot.classes)
        listed = [path for path in paths if issubclass(class_at(path), class_type)]
        names = [name for path in listed for name in names_of(path)]
        objects = [self._listed_class(path, action) for path in listed]
        schema: dict[str, Any] = anyof_schema([{"type": "string"}, *objects, _own_class(names)])
        return schema

    def _listed_class(self, path: str, action: argparse.Action) -> dict[str, Any]:
        schema: dict[str, Any] = self.class_path_schema(path, action)
        schema["properties"]["class_path"] = {"enum": list(names_of(path))}
        schema["properties"]["init_args"].pop("required", None)  # other files and the command fill in arguments
        return schema | {"required": ["class_path"]}


def _own_class(listed: list[str]) -> dict[str, Any]:
    """Return the schema of a class that the user allows with ``--allow_import``, whose arguments are unknown."""
    path = {"type": "string", "pattern": r"\.", "not": {"enum": listed}}
    properties = {"class_path": path, "init_args": {"type": "object"}, "dict_kwargs": {"type": "object"}}
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": ["class_path"]}
