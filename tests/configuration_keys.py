"""The tables of ``docs/configuration_keys.md``: every key of a configuration with its type, default and explanation.

``python -m tests.configuration_keys`` writes them again after an argument or its documentation has changed.
"""

import argparse
import re
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from gpt_lightning import tasks
from gpt_lightning.commands.help_page import plain_value
from gpt_lightning.commands.run.subcommand_parsers import subcommand_parsers
from gpt_lightning.data.find import data_modules
from gpt_lightning.tasks.saving import arguments_of

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "configuration_keys.md"

INTRODUCTION: Final = """\
# All keys

Each key is a path in a YAML file (`trainer.max_steps` is `max_steps` below `trainer`) and a flag of `gpt-lightning fit`
(`--trainer.max_steps 100`). In a file, the keys of `model` and `data` go below `init_args`.
[Configuration](configuration.md) explains how files, flags and checkpoints combine.

`python -m tests.configuration_keys` writes this page from the code, and a test compares it.
"""

_SHOWN_TYPES: Final = {"NoneType": "null", "pathlib.Path": "str"}
_END_OF_SUMMARY: Final = re.compile(r"\n\n|\s+Default: |\s+Defaults to |\s+Could also be ")
"""End of the part of Lightning's explanations that is not about defaults or details."""


def document() -> str:
    """Return the whole page."""
    # The options of tasks and data modules have sections of their own.
    run = [action for action in subcommand_parsers()["fit"]._actions if action.dest not in ("model", "data")]
    groups = ("trainer", "checkpoints", "samples", "lm_eval", "predictions")
    top = [action for action in run if action.dest.partition(".")[0] not in groups]
    shared = {action.dest for action in run}
    test = [action for action in subcommand_parsers()["test"]._actions if action.dest not in {*shared, "model", "data"}]
    parts = [INTRODUCTION, _section("The run", top), _section("`test` only", test)]
    parts += _classes("model", tasks.CONCRETE)
    parts += _classes("data", data_modules())
    for group in groups:
        chosen = [action for action in run if action.dest.startswith(f"{group}.")]
        parts.append(_section(f"`{group}`" + (": Lightning's Trainer" if group == "trainer" else ""), chosen))
    return "\n".join(parts)


def _classes(prefix: str, classes: Sequence[type]) -> list[str]:
    """Return a section with the keys that all classes have, and one for each class with its own."""
    arguments = {each.__name__: arguments_of(each, prefix)._actions for each in classes}
    shared = set.intersection(*({action.dest for action in actions} for actions in arguments.values()))
    defaults = {
        key: {name: _default(action) for name, actions in arguments.items() for action in actions if action.dest == key}
        for key in shared
    }
    last = list(arguments.values())[-1]
    title = {"model": "every task", "data": "every data module"}[prefix]
    parts = [_section(f"`{prefix}`: {title}", [action for action in last if action.dest in shared], defaults)]
    for name, actions in arguments.items():
        own = [action for action in actions if action.dest not in shared]
        if any(_is_key(action) for action in own):
            parts.append(_section(f"`{prefix}`: `{name}`", own))
    return parts


def _section(title: str, actions: Iterable[argparse.Action], defaults: dict[str, dict[str, str]] | None = None) -> str:
    rows = [_row(action, (defaults or {}).get(action.dest)) for action in actions if _is_key(action)]
    assert rows, title
    return "\n".join([f"## {title}\n", "| key | type | default | |", "|---|---|---|---|", *rows, ""])


def _is_key(action: argparse.Action) -> bool:
    is_help = action.dest.endswith("help") or type(action).__name__ == "_ActionConfigLoad"
    return not is_help and action.dest not in ("config", "print_config", "print_shtab", "allow_import")


def _row(action: argparse.Action, defaults: dict[str, str] | None) -> str:
    """Return the table row of a key; where the classes have different defaults, each default names its classes."""
    default = _default(action)
    if defaults and len(set(defaults.values())) > 1:
        owners: dict[str, list[str]] = {}
        for name, value in defaults.items():
            owners.setdefault(value, []).append(f"`{name}`")
        default = "; ".join(f"{value}: {', '.join(names)}" for value, names in owners.items())
    cells = [f"`{action.dest}`", _type(action), default, _explanation(action)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(action: argparse.Action) -> str:
    value = list(action.default) if isinstance(action.default, tuple) else action.default
    return "null" if value is None else f"`{plain_value(value)}`"


def _type(action: argparse.Action) -> str:
    return " or ".join(dict.fromkeys(_type_names(getattr(action, "_typehint", None) or action.type or str)))


def _type_names(hint: Any) -> list[str]:
    """Return the names of the types in a union, and the values of a Literal."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return [f"`{value}`" for value in arguments]
    if origin in (list, tuple, dict, set) or "abc" in getattr(origin, "__module__", ""):
        return [getattr(origin, "__name__", str(origin)).lower().replace("iterable", "list").replace("tuple", "list")]
    if arguments:
        return [name for each in arguments for name in _type_names(each)]
    name = getattr(hint, "__name__", str(hint))
    return [_SHOWN_TYPES.get(name, "str" if name == "Path" else name)]


def _explanation(action: argparse.Action) -> str:
    """Return the documentation in Markdown; of Lightning's long ones the first paragraph."""
    text = action.help or ""
    if action.dest.startswith("trainer.") or action.dest == "ckpt_path":
        text = _END_OF_SUMMARY.split(text)[0]
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text.replace("``", "`"))
    return " ".join(text.split())


def main() -> None:
    """Write the page."""
    DOCUMENT.write_text(document())


if __name__ == "__main__":
    main()
