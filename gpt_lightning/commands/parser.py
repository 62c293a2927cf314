"""Base parser of all commands: short errors, the nearest known key, shared options."""

import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

_UNKNOWN_KEY = re.compile(r"(?:unrecognized arguments: --|does not accept option '|[Oo]ption ')([\w.]+)")


class Parser(ArgumentParser):
    """Says what is wrong in a few lines, with the nearest known key for an unknown one, and exits with 2."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # argparse would take --max_new for --max_new_tokens
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def add_loading_options(self, whose: str = "MODEL") -> None:
        """Add the options of commands that load a trained model: ``--init_from`` and ``--allow_import``.

        Args:
            whose: the models, as the help names them.
        """
        self.add_argument(
            "--init_from",
            type=str | None,
            default=None,
            metavar="BASE",
            help=f"where the weights are that the LoRA adapters of {whose} were trained on, if they have moved",
        )
        self.add_argument(
            "--allow_import",
            type=str,
            action="append",
            metavar="NAME",
            default=[],
            help=f"a package of your own that the classes of {whose} may come from; may be given several times",
        )

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print ``message`` in short and leave."""
        unknown = _UNKNOWN_KEY.search(message)
        text = _unknown_key(unknown[1], self.known_keys()) if unknown else _short(message)
        print(f"{self.prog.replace(' [options]', '')}: {text}", file=sys.stderr)
        sys.exit(2)

    def known_keys(self) -> Iterator[str]:
        """Every option of this parser and of its subcommands: ``trainer.max_steps``."""
        yield from (
            action.dest for action in self._actions if action.dest not in ("help", "print_config", "print_shtab")
        )
        if self._subcommands_action is not None:
            for subparser in self._subcommands_action._name_parser_map.values():
                yield from subparser.known_keys()


def _unknown_key(key: str, known: Iterable[str]) -> str:
    # In a file only the last part of a key is known to the message; on the command line all of it.
    by_name: dict[str, str] = {}
    for full in known:
        for start in range(full.count(".") + 1):
            by_name.setdefault(full.split(".", start)[-1], full)
    near = difflib.get_close_matches(key, by_name, n=1, cutoff=0.5)
    hint = f"did you mean {by_name[near[0]]!r}?" if near else "--help lists the keys"
    return f"unknown key {key!r}; {hint}"


def _short(message: str) -> str:
    """The lines that name the key and the reason, without what was tried in vain."""
    noise = (
        "Does not validate against any",
        "Expected a <class 'NoneType'>",
        "Given value",
        "Problem with given",
        "Subtypes",
    )
    lines = (line.strip(" -") for line in message.strip().splitlines())
    kept = [line for line in lines if line and not line.startswith(noise) and line != "Errors:"]
    return "\n  ".join(line[:200] for line in kept[:4])
