"""What arguments mean, before a parser sees them."""

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from gpt_lightning.errors import InputError


def option(arguments: list[str], name: str) -> str | None:
    """The value of the last ``name VALUE`` or ``name=VALUE``."""
    value = None
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        if argument == name:
            value = following
        elif argument.startswith(f"{name}="):
            value = argument.partition("=")[2]
    return value


def refuse_early(arguments: list[str]) -> None:
    """Refuse arguments of a class that nothing has named yet.

    Raises:
        InputError: there is one.
    """
    named: set[str] = set()
    for argument in arguments:
        name = argument.partition("=")[0]
        part, dot, rest = name.removeprefix("--").partition(".")
        if name == "--config" or (name.startswith("-c") and not name.startswith("--")):
            return
        if part not in ("model", "data") or not name.startswith("--"):
            continue
        if not dot or rest in ("class_path", "help"):
            named.add(part)
        elif part not in named:
            raise InputError(f"{name} stands before the class that it is for: put -c FILE or --{part}=CLASS in front")


def in_full(arguments: list[str], stack: ExitStack) -> list[str]:
    """``predict --model MODEL --input FILE [--output FILE]`` as ``predict`` with the keys that this means.

    Standard input, which is read more than once, is kept in a file until ``stack`` ends.
    """
    rows = option(arguments, "--input")
    if arguments[0] != "predict" or rows is None:
        return arguments
    if rows == "-":
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "input.jsonl"
        file.write_bytes(sys.stdin.buffer.read())
        rows = str(file)
    means = {"--model": "--ckpt_path", "--input": "--data.test", "--output": "--predictions.path"}
    result, following = [], None
    for argument in arguments:
        name, is_one, value = argument.partition("=")
        if following == "--data.test" or (name == "--input" and is_one):
            result.append(f"--data.test={rows}")
        elif following is not None:
            result.append(f"{following}={argument}")
        elif name in means and is_one:
            result.append(f"{means[name]}={value}")
        elif name not in means:
            result.append(argument)
        following = means[name] if name in means and not is_one and following is None else None
    return result
