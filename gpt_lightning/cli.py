"""Entry point of ``gpt-lightning``: finds the command and imports nothing heavy.

Each command imports what it needs. So ``--help`` and messages about mistyped options appear at once.
"""

import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gpt_lightning.commands.table import COMMANDS, GROUPS
from gpt_lightning.printable import printable


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    0: done. 1: training cannot continue. 2: the input is invalid. 130 and 143: interrupted by Ctrl-C and SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _dispatch(arguments)
        finally:
            sys.stdout.flush()  # at exit, an error could not be handled
    except BrokenPipeError:  # the reader of the output has closed it, as "| head" does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(arguments: list[str]) -> int:
    """Print the help or the version, or run a command, and return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        from gpt_lightning import __version__

        print(f"gpt-lightning {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        return _unknown_command(name)
    from gpt_lightning.errors import Interrupted, input_error, run_error

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # some terminals cannot show all of Unicode
    if any(argument.partition("=")[0] == "--allow_import" for argument in rest) and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # a console script does not look for modules in the working directory
    try:
        return _run(name, rest)
    except KeyboardInterrupt:
        return 130
    except Interrupted as interruption:
        # Lightning kills all processes, also the first, when one of them ends with anything but 0.
        return 0 if int(os.environ.get("LOCAL_RANK", "0")) else 128 + interruption.signum
    except Exception as error:
        if (failure := run_error(error)) is not None:
            print(printable(f"gpt-lightning {name}: {failure}"), file=sys.stderr)
            return 1
        reason = input_error(error)
        if reason is None:
            raise
        # The error of a worker process holds its whole traceback, with the message at the end.
        text = str(reason).split("errors.InputError: ")[-1].strip()
        print(printable(f"gpt-lightning {name}: {text}"), file=sys.stderr)
        return 2


def _run(name: str, arguments: list[str]) -> int:
    """Import a command and run it."""
    from gpt_lightning import status

    module = COMMANDS[name][0]
    if module == "run.cli":
        from gpt_lightning.commands.run.pages import short_help, wants_help

        arguments = [name, *arguments]
        if wants_help(arguments):
            print(short_help(name))
            return 0
        from gpt_lightning.commands.guard.config_guard import check

        check(arguments)  # CLI checks again; this one comes before the slow imports
    with status.shown(not _only_prints(arguments)):
        with status.status("Loading PyTorch and Lightning"):
            command = importlib.import_module(f"gpt_lightning.commands.{module}")
        code: int = command.main(arguments)
    return code


def _only_prints(arguments: Sequence[str]) -> bool:
    """Return whether a command only prints its help or its configuration."""
    options = [argument.partition("=")[0] for argument in arguments]
    return any(option in ("-h", "--print_config") or option.endswith(("--help", ".help")) for option in options)


def _help() -> str:
    width = max(map(len, COMMANDS))
    groups = (
        "\n".join([f"{title}:", *(f"  {name:<{width}}  {summary}" for name, (_, summary) in group.items())])
        for title, group in GROUPS.items()
    )
    commands = "\n\n".join(groups)
    return f"""usage: gpt-lightning COMMAND [options]

Pretrain a GPT on your text and fine-tune it for your tasks, from YAML files, on Lightning.

{commands}

Options:
  -h, --help     show this help message and exit
  --version      show the version and exit

gpt-lightning COMMAND --help explains a command and its options. Options follow the command.

Example:
  gpt-lightning quickstart"""


def _unknown_command(name: str) -> int:
    if name.startswith("-"):
        print(f"gpt-lightning: {name} is in front of the command. Options follow the command", file=sys.stderr)
        return 2
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the commands are {', '.join(COMMANDS)}"
    print(f"gpt-lightning: unknown command {name!r}; {hint}", file=sys.stderr)
    return 2
