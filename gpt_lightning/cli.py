"""Entry point of ``gpt-lightning``: finds the command and imports nothing heavy.

Each command imports what it needs. So ``--help`` and messages about mistyped options appear at once.
"""

import difflib
import importlib
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gpt_lightning.commands.output import SIGPIPE_CODE, OutputClosedError, standard_streams
from gpt_lightning.commands.table import COMMANDS, GROUPS

_PRINTING = ("", "generate", "completion", "init", "schema")
"""Commands that only print, so that they end when nothing reads their output; without a name it is the help."""
_WRITING = ("quickstart", "toy-world", "fit", "predict", "compare", "export", "without", "verify-resume")
"""Commands whose result is a file or an exit code; it does not matter whether their output was read."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    0: done. 1: the command failed. 2: the input is invalid. 130 and 143: interrupted by Ctrl-C and SIGTERM. 141: the
    reader of the output has gone.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    only_prints = name in _PRINTING or _only_prints(arguments)
    with standard_streams(stops=only_prints) as output, _reported_hooks(name) as codes:
        try:
            code = _dispatch(arguments)
            output.flush()
        except OutputClosedError:
            code = 0
        except SystemExit as stop:  # a parser has printed help or an error
            if output.failure is None or stop.code not in (None, 0):
                raise
            code = 0
        except BaseException as error:
            from gpt_lightning.commands.failure import report

            code = report(name, error)
            codes.append(code)
        code = code or max(codes, default=0)
        return code or _output_code(name, output.failure, has_files=_has_files(name, arguments) and not only_prints)


def _output_code(name: str, failure: OSError | None, has_files: bool) -> int:
    """Return the exit code of a command that has done its work, after writes to standard output that may have failed.

    Args:
        name: the name of the command.
        failure: the first error of a write.
        has_files: the command has written its result to files, so the failure does not matter.
    """
    if failure is None:
        return 0
    if isinstance(failure, BrokenPipeError):
        return 0 if has_files else SIGPIPE_CODE
    print(f"gpt-lightning {name}".strip() + f": cannot write to standard output: {failure.strerror}", file=sys.stderr)
    return 0 if has_files else 1


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
    if any(argument.partition("=")[0] == "--allow_import" for argument in rest) and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # a console script does not look for modules in the working directory
    return _run(name, rest)


@contextmanager
def _reported_hooks(name: str) -> Iterator[list[int]]:
    """Report exceptions of threads like one that ends the command, and those of destructors in one line.

    Yields:
        List of the exit codes of failures, to which that of each thread that fails is added. After a failure, nothing
        is reported of destructors, which often fail for objects whose constructor has failed.
    """
    codes: list[int] = []

    def report_thread(thread: threading.ExceptHookArgs) -> None:
        from gpt_lightning.commands.failure import report

        if thread.exc_value is not None:
            codes.append(report(name, thread.exc_value))

    def report_destructor(ignored: "sys.UnraisableHookArgs") -> None:
        from gpt_lightning.commands.failure import first_line

        if ignored.exc_value is not None and not codes:
            print(f"ignored in {ignored.object!r}: {first_line(ignored.exc_value)}", file=sys.stderr)

    before = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = report_thread, report_destructor
    try:
        yield codes
    finally:
        threading.excepthook, sys.unraisablehook = before


def _run(name: str, arguments: list[str]) -> int:
    """Import a command and run it."""
    from gpt_lightning import status
    from gpt_lightning.commands.environment import check_environment

    if name != "doctor":  # which reports them
        check_environment()  # Lightning reads these variables while it is imported
    module = COMMANDS[name][0]
    if module == "run.cli":
        from gpt_lightning.commands.run.pages import short_help, wants_help

        arguments = [name, *arguments]
        if wants_help(arguments):
            print(short_help(name))
            return 0
        from gpt_lightning.commands.guard.config_guard import check

        check(arguments)  # CLI checks again; this one comes before the slow imports
    with status.show_status(not _only_prints(arguments)):
        with status.status("Loading PyTorch and Lightning"):
            command = importlib.import_module(f"gpt_lightning.commands.{module}")
        code: int = command.main(arguments)
    return code


def _only_prints(arguments: Sequence[str]) -> bool:
    """Return whether a command only prints its help or its configuration."""
    options = [argument.partition("=")[0] for argument in arguments]
    return any(option in ("-h", "--print_config") or option.endswith(("--help", ".help")) for option in options)


def _has_files(name: str, arguments: list[str]) -> bool:
    """Return whether the result of a command is in files, and not only in its output."""
    has_output = any(argument.partition("=")[0] == "--output" for argument in arguments)
    return has_output or name in _WRITING or arguments[:2] == ["tokenizer", "train"]


def _help() -> str:
    width = max(map(len, COMMANDS))
    groups = (
        "\n".join([f"{title}:", *(f"  {name:<{width}}  {summary}" for name, (_, summary) in group.items())])
        for title, group in GROUPS.items()
    )
    commands = "\n\n".join(groups)
    return f"""usage: gpt-lightning COMMAND [options]

Pretrain a GPT on your text, and fine-tune it for your tasks. YAML files describe the runs.

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
