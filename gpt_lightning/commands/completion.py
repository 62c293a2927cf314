"""``gpt-lightning completion``: print a script that completes commands and options in a shell."""

import argparse
import importlib
from collections.abc import Iterable, Iterator
from typing import Final

from gpt_lightning.commands.help_page import first_sentence, values_of
from gpt_lightning.commands.parser import Parser
from gpt_lightning.commands.table import COMMANDS

_LIKE_FIT: Final = ("inspect", "verify-resume")
"""Commands that also take the options of ``fit``."""


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning completion",
        description="Print a script for a shell that completes commands, options and their values with the Tab key. "
        "The script contains all names, so completion is fast. Write it again after an update. For zsh, add the "
        "folder of the script to fpath before compinit runs.",
        examples=[
            "gpt-lightning completion bash > ~/.local/share/bash-completion/completions/gpt-lightning",
            "gpt-lightning completion zsh > ~/.zfunc/_gpt-lightning",
            "gpt-lightning completion fish > ~/.config/fish/completions/gpt-lightning.fish",
        ],
    )
    p.add_argument("shell", type=str, choices=["bash", "zsh", "fish"], metavar="SHELL", help="bash, zsh or fish")
    return p


def main(argv: list[str]) -> int:
    """Print the script for a shell."""
    options = parser().parse_args(argv)

    import shtab

    print(shtab.complete(program(), options.shell))
    return 0


def program() -> argparse.ArgumentParser:
    """Return one parser for all commands and their options, of plain argparse as shtab expects it."""
    from gpt_lightning.commands.run.command_line import predict_shorthand
    from gpt_lightning.commands.run.subcommand_parsers import subcommand_parsers

    root = argparse.ArgumentParser(prog="gpt-lightning")
    root.add_argument("--version", action="store_true", help="show the version and exit")
    commands = root.add_subparsers()
    runs = {name: [*each._actions, *_class_options()] for name, each in subcommand_parsers().items()}
    runs["predict"] += predict_shorthand()._actions
    for name, (module, summary) in COMMANDS.items():
        own = runs.get(name) or importlib.import_module(f"gpt_lightning.commands.{module}").parser()._actions
        _copy([*own, *(runs["fit"] if name in _LIKE_FIT else [])], commands.add_parser(name, help=summary))
    return root


def _class_options() -> Iterator[argparse.Action]:
    """Yield the options of every task and data module of this package."""
    from gpt_lightning import tasks
    from gpt_lightning.data.find import data_modules
    from gpt_lightning.tasks.saving import arguments_of

    for prefix, classes in (("model", tasks.CONCRETE), ("data", data_modules())):
        for each in classes:
            yield from arguments_of(each, prefix)._actions


def _copy(actions: Iterable[argparse.Action], command: argparse.ArgumentParser) -> None:
    """Add actions of another parser to a command; of several with the same name the first one counts."""
    import shtab

    for action in actions:
        if isinstance(action, argparse._SubParsersAction):
            subcommands = command.add_subparsers()
            summaries = {each.dest: each.help for each in action._get_subactions()}
            for name, subparser in action.choices.items():
                _copy(subparser._actions, subcommands.add_parser(name, help=summaries[name]))
            continue
        is_new = [name not in command._option_string_actions for name in action.option_strings]
        if action.help == argparse.SUPPRESS or not all(is_new):
            continue
        names = [name for name in action.option_strings if not name.endswith("+")] or [action.dest]
        text = first_sentence(action.help or "").replace("%", "%%")
        if action.nargs == 0:
            command.add_argument(*names, action="store_true", help=text)
            continue
        values = values_of(action)
        copy = command.add_argument(*names, choices=values or None, help=text)
        if values is None:
            copy.complete = shtab.FILE  # type: ignore[attr-defined]
