"""Entry point of ``gpt-lightning``: finds the command and imports nothing heavy.

Everything heavy is imported by the command that needs it, so that ``--help`` and typing errors answer at once.
"""

import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

COMMANDS = {
    "init": ("init.command", "look at a file and print a configuration that trains on it"),
    "fit": ("run.cli", "train a model: gpt-lightning fit -c configs/pretrain_toy_world.yaml"),
    "validate": ("run.cli", "measure a checkpoint on the validation data"),
    "test": ("run.cli", "measure a checkpoint on the test data"),
    "predict": ("run.cli", "write a checkpoint's predictions, one JSON line a row"),
    "evaluate": ("evaluate", "several runs in one table"),
    "lm-eval": ("lm_eval", "a language model on tasks of EleutherAI's lm-evaluation-harness"),
    "generate": ("generate", "continue a prompt with a checkpoint or a run's best one"),
    "export": ("export", "write a model as a folder that Hugging Face's classes read too"),
    "tokenizer": ("tokenizer", "train a tokenizer, or look at one"),
    "verify-resume": ("verify_resume", "check that a killed and resumed run of a configuration ends where it should"),
    "toy-world": ("toy_world", "write the toy world's text: data to try things on, without any download"),
    "quickstart": ("quickstart", "pretrain a nano model on the toy world and fine-tune four heads: five minutes"),
}
"""Name -> (module of ``gpt_lightning.commands``, what it does)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code.

    0 done, 2 the input cannot work, 1 training cannot go on, 130 and 143 interrupted by Ctrl-C and SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
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
    from gpt_lightning.status import shown, status

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every terminal has every character
    if any(argument.partition("=")[0] == "--allow_import" for argument in rest) and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # a console script does not look for modules in the working directory
    try:
        if COMMANDS[name][0] == "run.cli":
            from gpt_lightning.commands.guard.config_guard import check

            check(arguments)  # again by the command, but before anything heavy is imported
        with shown(not _asks_for_text(rest)):
            with status("Loading PyTorch and Lightning"):
                module = importlib.import_module(f"gpt_lightning.commands.{COMMANDS[name][0]}")
            code: int = module.main([name, *rest] if COMMANDS[name][0] == "run.cli" else rest)
    except KeyboardInterrupt:
        return 130
    except Interrupted as interruption:
        # Lightning kills the other processes, the first too, when one of them ends with anything but 0.
        return 0 if int(os.environ.get("LOCAL_RANK", "0")) else 128 + interruption.signum
    except BrokenPipeError:  # whoever read what we print, as in "| head", has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if (failure := run_error(error)) is not None:
            print(f"gpt-lightning {name}: {failure}", file=sys.stderr)
            return 1
        reason = input_error(error)
        if reason is None:
            raise
        # A worker process sends its whole traceback along, the message last.
        print(f"gpt-lightning {name}: {str(reason).split('errors.InputError: ')[-1].strip()}", file=sys.stderr)
        return 2
    return code


def _asks_for_text(arguments: Sequence[str]) -> bool:
    """Return whether a command only prints its help or its configuration."""
    options = [argument.partition("=")[0] for argument in arguments]
    return any(option in ("-h", "--print_config") or option.endswith(("--help", ".help")) for option in options)


def _help() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items())
    return f"""usage: gpt-lightning COMMAND [options]

Pretrain a GPT on your text and fine-tune it for your tasks, from YAML, on Lightning.

{commands}

gpt-lightning COMMAND --help lists the options of a command; options follow the command.
gpt-lightning --version prints the version."""


def _unknown_command(name: str) -> int:
    if name.startswith("-"):
        print(f"gpt-lightning: {name} stands before the command; options follow it", file=sys.stderr)
        return 2
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(COMMANDS)}"
    print(f"gpt-lightning: no command {name!r}; {hint}", file=sys.stderr)
    return 2
