"""Errors of the command line and of YAML files, in a few lines that say how to mend them."""

import dataclasses
import difflib
import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any, NoReturn, get_type_hints

import lightning.pytorch as L
from jsonargparse import ArgumentParser
from lightning.pytorch.cli import LightningArgumentParser

from gpt_lightning.tasks import Task

UNKNOWN_KEY = re.compile(r"(?:unrecognized arguments: --|does not accept option '|[Oo]ption ')([\w.]+)")


class Parser(LightningArgumentParser):
    """Says what is wrong in a few lines, with the nearest known key for an unknown one, and exits with 2."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # argparse would take --trainer.max_step for --trainer.max_steps
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print ``message`` in short and leave."""
        # A wrapped message ends with the innermost reason, before "Expected ..." lines about its alternatives.
        unknown = UNKNOWN_KEY.search(message)
        text = self._unknown_key(unknown[1]) if unknown else _short(message)
        print(f"{self.prog.removesuffix(' [options]')}: {text}", file=sys.stderr)
        sys.exit(2)

    def _unknown_key(self, key: str) -> str:
        # The classes' keys first: a parser of one class's arguments knows the ends of its keys only.
        known = [*_class_keys("model", Task), *_class_keys("data", L.LightningDataModule), *_own_keys(self)]
        # In a file only the last part of a key is known to the message; on the command line all of it.
        by_name: dict[str, str] = {}
        for full in known:
            for start in range(full.count(".") + 1):
                by_name.setdefault(full.split(".", start)[-1], full)
        near = difflib.get_close_matches(key, by_name, n=1, cutoff=0.5)
        hint = f"did you mean {by_name[near[0]]!r}?" if near else "--help lists the keys"
        return f"unknown key {key!r}; {hint}"


def _own_keys(parser: ArgumentParser) -> Iterator[str]:
    """Every option of ``parser`` and of its subcommands: ``trainer.max_steps``."""
    yield from (action.dest for action in parser._actions if action.dest not in ("help", "print_config", "print_shtab"))
    if parser._subcommands_action is not None:
        for subparser in parser._subcommands_action._name_parser_map.values():
            yield from _own_keys(subparser)


def _class_keys(prefix: str, base: type[Any]) -> Iterator[str]:
    """Every argument of the classes below ``base``, as on the command line: ``model.backbone.n_layer``."""
    for subclass in base.__subclasses__():
        if subclass.__module__.startswith("gpt_lightning."):
            yield from _argument_keys(prefix, subclass)
        yield from _class_keys(prefix, subclass)


def _argument_keys(prefix: str, owner: Any) -> Iterator[str]:
    hints = get_type_hints(owner.__init__)
    for name in inspect.signature(owner).parameters:
        yield f"{prefix}.{name}"
        if dataclasses.is_dataclass(hints.get(name)):
            yield from _argument_keys(f"{prefix}.{name}", hints[name])


def _short(message: str) -> str:
    """The lines that name the key and the reason, without what was tried in vain."""
    lines = [line.strip(" -") for line in message.strip().splitlines()]
    kept = [line for line in lines if line and not line.startswith(("Expected a <class 'NoneType'>", "Given value"))]
    kept = [
        line for line in kept if not line.startswith(("Does not validate against any", "Problem with given class_path"))
    ]
    return "\n  ".join(line[:200] for line in kept[:4])
