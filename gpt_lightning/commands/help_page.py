"""Help page of a command: usage, description, options in sections, and examples."""

import argparse
import json
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from types import UnionType
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin

MAX_WIDTH: Final = 100
"""Longest line on a wide terminal; longer lines are hard to read."""
_NAME_WIDTH: Final = 34
"""Names that are longer have a line of their own."""
_VALUE_WIDTH: Final = 24
"""Lists of alternatives that are longer give way to the option's name."""
_NUMBERS: Final[dict[Any, str]] = {int: "INT", float: "FLOAT"}
_CITATION: Final = re.compile(r" \([^()]*(?:\d{4}[a-z]?|arXiv)[^()]*\)")
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"


class Entry(NamedTuple):
    """An option, an argument or a command, and its explanation."""

    name: str
    text: str


class Section(NamedTuple):
    """Entries below a title."""

    title: str
    entries: Sequence[Entry]


def help_page(usage: str, description: str, sections: Iterable[Section], examples: Sequence[str]) -> str:
    """Return the help of a command, wrapped to the width of the terminal.

    Args:
        usage: the command with its arguments.
        description: one or more paragraphs with an empty line between them.
        sections: the options; sections without entries are left out.
        examples: command lines that work when pasted, in this order.
    """
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
    parts = [f"usage: {usage}", *(textwrap.fill(part, width) for part in description.split("\n\n"))]
    sections = [section for section in sections if section.entries]
    longest = max((len(entry.name) for section in sections for entry in section.entries), default=0)
    column = min(longest, _NAME_WIDTH, width // 2) + 4
    for title, entries in sections:
        parts.append("\n".join([f"{title}:", *(_lines(entry, column, width) for entry in entries)]))
    if examples:
        commands = textwrap.indent("\n".join(examples), "  ")
        parts.append(f"{'Example' if len(examples) == 1 else 'Examples'}:\n{commands}")
    return "\n\n".join(parts)


def _lines(entry: Entry, column: int, width: int) -> str:
    name = f"  {entry.name}"
    unbroken = entry.text.replace("default: ", f"default:{_NO_BREAK}")
    text = textwrap.wrap(unbroken, width - column, break_on_hyphens=False, break_long_words=False)
    text = [line.replace(_NO_BREAK, " ") for line in text]
    if len(name) + 2 > column:
        return "\n".join([name, *(" " * column + line for line in text)])
    first, *rest = text or [""]
    return "\n".join([f"{name:<{column}}{first}".rstrip(), *(" " * column + line for line in rest)])


def sections_of(parser: argparse.ArgumentParser) -> list[Section]:
    """Return a section for each group of a parser's arguments and for its commands; plain options are the last."""
    titles = {"positional arguments": "Arguments", "options": "Options"}
    sections = []
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        if commands := [action for action in actions if isinstance(action, argparse._SubParsersAction)]:
            names = [each for action in commands for each in action._get_subactions()]
            sections.append(Section("Commands", [Entry(each.dest, each.help or "") for each in names]))
        else:
            title = group.title or ""
            sections.append(Section(titles.get(title, title), [entry_of(action) for action in actions]))
    return sorted(sections, key=lambda section: section.title == "Options")


def entry_of(action: argparse.Action) -> Entry:
    """Return an option or argument of a parser with its default; a default of None means "not given"."""
    text = plain_text(action.help or "")
    if action.option_strings and action.required:
        text += " (required)"
    elif action.option_strings and action.nargs != 0 and action.default not in (None, argparse.SUPPRESS, [], ""):
        text += f" (default: {plain_value(action.default)})"
    return Entry(option_name(action), text)


def first_sentence(text: str) -> str:
    """Return the first sentence of a help text, without markup, citations and the period."""
    return plain_text(_CITATION.sub("", plain_text(text)).partition(". ")[0])


def plain_text(text: str) -> str:
    """Return a help text without markup and its last period."""
    return " ".join(text.replace("`", "").split()).removesuffix(".")


def option_name(action: argparse.Action) -> str:
    """Return an option with its value, such as ``--seed INT``, or the name of an argument."""
    value = metavar(action)
    if not action.option_strings:
        return f"{value} ..." if action.nargs in ("+", "*") else value
    names = ", ".join(name for name in action.option_strings if not name.endswith("+"))
    separator = "" if value.startswith("[=") else " "
    return names if action.nargs == 0 else f"{names}{separator}{value}"


def metavar(action: argparse.Action) -> str:
    """Return the name of an option's value: its choices, or ``INT`` or ``FLOAT``, or the option's name in capitals."""
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices is not None:
        return f"{{{','.join(map(str, action.choices))}}}"
    words = _words_of(action)
    alternatives = "|".join(words)
    if all(words) and len(alternatives) <= _VALUE_WIDTH:
        return alternatives
    return action.dest.rpartition(".")[2].upper()


def values_of(action: argparse.Action) -> list[str] | None:
    """Return the words that an option takes as its value, none for numbers; None if it takes any text."""
    words = _words_of(action) if action.choices is None else [str(choice) for choice in action.choices]
    return [word for word in words if word not in _NUMBERS.values()] if all(words) else None


def _words_of(action: argparse.Action) -> list[str]:
    return list(dict.fromkeys(_words(getattr(action, "_typehint", action.type))))


def _words(hint: Any) -> Iterator[str]:
    """Yield a word for each alternative of a type, or an empty string for an alternative that accepts any text."""
    if hint in _NUMBERS:
        yield _NUMBERS[hint]
    elif hint is bool:
        yield from ("true", "false")
    elif get_origin(hint) is Literal:
        yield from map(str, get_args(hint))
    elif get_origin(hint) in (Union, UnionType):
        for each in get_args(hint):
            if each is not type(None):
                yield from _words(each)
    else:
        yield ""


def plain_value(value: Any) -> str:
    """Return a default as a user writes it in a YAML or a flag."""
    if isinstance(value, str | PurePath):
        return str(value) or '""'
    return json.dumps(value)
