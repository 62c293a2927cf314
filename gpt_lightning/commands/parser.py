"""Base parsers of the commands: help pages, short errors that suggest the nearest key, and shared options."""

import argparse
import difflib
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, NoReturn

from jsonargparse import ArgumentParser

from gpt_lightning.commands.guard.plain_yaml import line_of
from gpt_lightning.commands.help_page import Section, help_page, option_name, sections_of
from gpt_lightning.commands.hints import stray_words, unknown_key
from gpt_lightning.printable import printable, short_lines

_CHOICES = re.compile(r"Expected a (?:typing\.)?Literal\[([^\]]*)\]")
_UNKNOWN_KEY = re.compile(r"(?:unrecognized arguments: --|does not accept option '|[Oo]ption ')([\w.-]+)")
_KEY = re.compile(r'Parser key "(.+?)"')
_NOT_A_GROUP = re.compile(
    r"""Parser key ["']([\w.]+)["']:.*?Unable to load config ["'](.*?)["']\s*(?:\n|$)""", re.DOTALL
)
_STRAY = "unrecognized arguments: "
MISSING = "the following arguments are required: "

MODEL_HELP: Final = "a checkpoint, a run folder (its best checkpoint), a model folder, or hub:OWNER/NAME"
"""Explanation of an argument that names a trained model."""

# A parser without a logger builds thousands of debug records and discards them.
logging.getLogger("jsonargparse_null_logger").setLevel(logging.CRITICAL)

_files: ContextVar[Sequence[str]] = ContextVar("_files", default=())


@contextmanager
def reading(*files: str) -> Iterator[None]:
    """Name the line of these files in error messages while the block runs, if the key is in one of them."""
    token = _files.set(files)
    try:
        yield
    finally:
        _files.reset(token)


class ParserWithPage(argparse.ArgumentParser):
    """Parser whose help is a page in the style of all commands."""

    examples: Sequence[str] = ()
    """Command lines that work when pasted."""

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        """Return the help page."""
        return self.page(sections_of(self)) + "\n"

    def page(self, sections: Iterable[Section]) -> str:
        """Return a help page with the given sections."""
        prog = self.prog.replace(" [options]", "")
        arguments = [action for action in self._actions if action.required]
        names = ["COMMAND" if action.nargs == argparse.PARSER else option_name(action) for action in arguments]
        usage = self.usage or " ".join([prog, *names, "[options]"])
        return help_page(usage, self.description or "", sections, self.examples)


class Parser(ArgumentParser, ParserWithPage):
    """Parser of a command; an error is a few lines with the nearest known key, and the exit code is 2."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        # argparse would accept --max_new for --max_new_tokens.
        super().__init__(*args, allow_abbrev=False, **kwargs)
        self.examples = examples

    def add_model_argument(self) -> None:
        """Add the argument ``MODEL``, which names a trained model."""
        self.add_argument("model", type=str, metavar="MODEL", help=MODEL_HELP)

    def add_device_option(self) -> None:
        """Add ``--device``."""
        self.add_argument("--device", type=str, default="auto", help="cpu, cuda, mps, or auto")

    def add_loading_options(self, models: str = "MODEL") -> None:
        """Add the options of commands that load a trained model: ``--init_from`` and ``--allow_import``.

        Args:
            models: the models, as the help names them.
        """
        self.add_argument(
            "--init_from",
            type=str | None,
            default=None,
            metavar="BASE",
            help=f"new path of the base model of LoRA adapters in {models}, if it has moved",
        )
        self.add_argument(
            "--allow_import",
            type=str,
            action="append",
            metavar="NAME",
            default=[],
            help=f"a package of your own that {models} may import classes from; can be given several times",
        )

    def add_output_options(self, text: str) -> None:
        """Add ``--output`` and ``--overwrite``.

        Args:
            text: explanation of the output file.
        """
        self.add_argument("--output", type=str | None, default=None, metavar="FILE", help=text)
        self.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print a message in short and exit with 2."""
        if unknown := _UNKNOWN_KEY.search(message):
            text = _place(unknown[1]) + unknown_key(unknown[1], self.known_keys())
        elif message.startswith(MISSING):
            text = f"{self._required_names(message.removeprefix(MISSING))}: no value is given. See --help"
        elif message.startswith(_STRAY):
            text = stray_words(message.removeprefix(_STRAY).split(" "))
        elif group := _NOT_A_GROUP.search(message):
            text = self._needs_keys(group[1], group[2])
        else:
            named = _KEY.search(message)
            text = (_place(named[1]) if named else "") + _shorten(message)
        # Parsers of classes are named after the file that Python runs.
        prog = self.prog.replace(" [options]", "") if self.prog.startswith("gpt-lightning") else "gpt-lightning"
        print(short_lines(printable(f"{prog}: {text}")), file=sys.stderr)
        sys.exit(2)

    def _required_names(self, names: str) -> str:
        """Return required arguments, separated by commas, by the names that the help gives them."""
        shown = {action.dest: option_name(action) for action in self._actions}
        return " and ".join(shown.get(name, name) for name in names.split(", "))

    def _needs_keys(self, key: str, value: str) -> str:
        """Return the message for a single value in place of a group of keys."""
        inner = next((each for each in self.known_keys() if f".{key}." in f".{each}"), f"{key}.KEY")
        full = f"{inner.partition(f'{key}.')[0]}{key}"
        return (
            f"{_place(full)}{full} is {value}, but it is a group of keys. Give a YAML file that exists, or set its "
            f"keys, such as --{inner}"
        )

    def known_keys(self) -> Iterator[str]:
        """Yield every option of this parser and of its subcommands, such as ``trainer.max_steps``."""
        yield from (action.dest for action in self._actions if action.dest != "print_shtab")
        if self._subcommands_action is not None:
            for subparser in self._subcommands_action._name_parser_map.values():
                yield from subparser.known_keys()


def _place(key: str) -> str:
    """Return ``path:line: `` of a key in the files that are read; empty if it is in none of them."""
    for file in reversed(_files.get()):
        if (line := line_of(Path(file), key)) is not None:
            return f"{file}:{line}: "
    return ""


def _shorten(message: str) -> str:
    """Return the lines that name the key and the reason, without the types that jsonargparse tried."""
    noise = (
        "Does not validate against any",
        "Expected a <class 'NoneType'>",
        "Given value",
        "Problem with given",
        "Subtypes",
    )
    lines = (line.strip(" -") for line in message.strip().splitlines())
    kept = [line for line in lines if line and not line.startswith(noise) and line != "Errors:"]
    return "\n  ".join(_simplify(line)[:200] for line in kept[:4]).replace(":\n  expected", ": expected")


def _simplify(line: str) -> str:
    """Return a line of jsonargparse's message without Python's notation of types."""
    if choices := _CHOICES.search(line):
        names = re.findall(r"'([^']*)'", choices[1])
        near = difflib.get_close_matches(line.rpartition("Got value: ")[2], names, n=1)
        line = line.replace(choices[0], f"expected one of {', '.join(names)}")
        line += f"; did you mean {near[0]}?" if near else ""
    line = re.sub(r"Expected a <class '([\w.]+)'>", r"expected \1", line)
    return re.sub(r'Parser key "(.+?)":', r"invalid value for \1:", line).replace(". Got value: ", ", got ")
