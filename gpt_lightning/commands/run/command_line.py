"""The command line of a run, read into values: first all files, then all flags, whatever their order."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from gpt_lightning.commands.run.parser import RunParser
from gpt_lightning.commands.run.value_layers import Origin, Value, Values, flatten, full_key, nest
from gpt_lightning.errors import InputError


class CommandLine(NamedTuple):
    """The options of a subcommand: what names files, and the rest."""

    files: list[str]
    ckpt_path: str | None
    flags: list[str]

    @classmethod
    def split(cls, arguments: list[str]) -> "CommandLine":
        """Find the files and the checkpoint in a subcommand's options."""
        p = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        p.add_argument("-c", "--config", action="append", default=[])
        p.add_argument("--ckpt_path")
        options, flags = _parse_known(p, arguments)
        ckpt_path = None if options.ckpt_path in ("null", "None") else options.ckpt_path
        return cls(options.config, ckpt_path, flags)

    @property
    def may_name_data(self) -> bool:
        """Return whether the options can name the class of the data module: a file may, and so does ``--data``."""
        return bool(self.files) or any(key in ("data", "data.class_path") for key, _ in _flag_keys(self.flags))

    def read(self, parser: RunParser, classes: Values) -> Values:
        """Parse files and flags.

        Args:
            parser: the subcommand's.
            classes: the class paths of model and data, where neither files nor flags name them.

        Raises:
            InputError: a flag is for a class that nothing names.
        """
        values, namespace = classes, nest(classes)
        for file in self.files:
            namespace = parser.parse_part(["--config", file], namespace)
            values = _unless_equal(values, flatten(namespace, Origin("file", file)))
        self._refuse_flags_without_class(values)
        namespace = parser.parse_part(self.flags, namespace)
        flags = dict(_flag_keys(self.flags))
        said = {key: Value(value, _flag_of(key, flags)) for key, value in namespace.clone(with_meta=False).items()}
        values = _unless_equal({key: value for key, value in values.items() if key not in flags}, said)
        if self.ckpt_path is not None:
            values["ckpt_path"] = Value(self.ckpt_path, Origin("flag", "--ckpt_path"))
        values.pop("config", None)
        return values

    def _refuse_flags_without_class(self, values: Values) -> None:
        named = {part for part in ("model", "data") if f"{part}.class_path" in values}
        for _, flag in _flag_keys(self.flags):
            part, dot, rest = flag.removeprefix("--").partition(".")
            if not dot or rest in ("class_path", "help"):
                named.add(part)
            elif part in ("model", "data") and part not in named:
                raise InputError(
                    f"{flag} stands before the class that it is for: put -c FILE or --{part}=CLASS in front"
                )


def _unless_equal(before: Values, after: Values) -> Values:
    """Return ``after``, with the origin that a value had before if it is still the same."""
    return {
        key: before[key] if key in before and before[key].value == value.value else value
        for key, value in after.items()
    }


def _flag_of(key: str, flags: dict[str, str]) -> Origin:
    """Return the flag for a key: its own, or that of the class or group that it is in."""
    own = max((each for each in flags if f"{key}.".startswith(f"{each}.")), key=len, default=None)
    return Origin("flag", "" if own is None else flags[own])


def _flag_keys(flags: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the key of a configuration that each flag is for, and the flag."""
    for argument in flags:
        if argument.startswith("--"):
            flag = argument.partition("=")[0].removesuffix("+")
            yield full_key(flag.removeprefix("--")), flag


def predict_shorthand() -> argparse.ArgumentParser:
    """Return the parser of the options that stand for a longer one of ``predict``."""
    p = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    group = p.add_argument_group("Short form")
    group.add_argument(
        "--model", help="with --input: a checkpoint, a run folder (its best checkpoint) or a model folder"
    )
    group.add_argument("--input", metavar="FILE", help="rows to predict; - reads JSON lines from standard input")
    group.add_argument("--output", metavar="FILE", help="file to write")
    return p


def read_predict_shorthand(arguments: list[str], stack: ExitStack) -> tuple[list[str], dict[str, Any]]:
    """Read ``--model MODEL --input FILE [--output FILE]`` of ``predict``.

    Standard input, which is read more than once, is kept in a file until ``stack`` ends.

    Returns:
        The other arguments, and the values that these stand for.
    """
    options, others = _parse_known(predict_shorthand(), arguments)
    if options.input is None:
        return arguments, {}
    if options.input == "-":
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "input.jsonl"
        file.write_bytes(sys.stdin.buffer.read())
        options.input = str(file)
    given = {"ckpt_path": options.model, "data.test": options.input, "predictions.path": options.output}
    return others, {key: value for key, value in given.items() if value is not None}


def _parse_known(parser: argparse.ArgumentParser, arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    try:
        return parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise InputError(str(error)) from None
