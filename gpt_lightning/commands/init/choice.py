"""Values of a configuration with the reason for each, and their YAML."""

import math
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import yaml

_LINE: Final = 120


class Choice(NamedTuple):
    """A value and the comment that says why."""

    value: Any
    why: str


def render(values: Mapping[str, Any], depth: int = 0) -> str:
    """Return nested values as YAML; the reason of a ``Choice`` becomes a comment."""
    return "".join(f"{line}\n" for line in _lines(values, "  " * depth))


def comment(text: str, indent: str = "") -> list[str]:
    """Return a text as lines of a YAML comment; line ends and control characters in it become blanks."""
    prefix = f"{indent}# "
    return textwrap.wrap(
        _printable(text), _LINE, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False
    )


def _lines(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in values.items():
        why = ""
        if isinstance(value, Choice):
            value, why = value
        line = f"{indent}{key}:" if isinstance(value, Mapping) else f"{indent}{key}: {_scalar(value)}"
        inline = f"{line}  # {_printable(why)}" if why else line
        if len(inline) <= _LINE:
            yield inline
        else:
            yield from comment(why, indent)
            yield line
        if isinstance(value, Mapping):
            yield from _lines(value, f"{indent}  ")


def _scalar(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _printable(text: str) -> str:
    # Names of files, columns and labels come from the user's files. A line end in one would end the comment.
    return "".join(character if character.isprintable() else " " for character in text)
