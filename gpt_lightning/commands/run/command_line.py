"""Command line of a run, read into values: first all files, then all flags, in any order on the line."""

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from gpt_lightning.commands.parser import MODEL_HELP, reading
from gpt_lightning.commands.run.label_names import quote_flags
from gpt_lightning.commands.run.parser import RunParser
from gpt_lightning.commands.run.value_layers import Origin, Value, Values, flatten, full_key, nest
from gpt_lightning.errors import InputError

_INPUT: Final = "GPT_LIGHTNING_INPUT"
"""Environment variable that gives the processes of other devices the copy of standard input."""
_PATHS: Final = ("--data.train", "--data.validation", "--data.test", "--data.without")
"""Flags whose value is a path or a list of paths."""
_TEXTS: Final = (*_PATHS, "--data.template")
"""Flags whose value is a text that YAML may read as something else, such as ``Translate to French: {en}``."""


class CommandLine(NamedTuple):
    """Options of a subcommand: configuration files, the checkpoint, and all other flags."""

    files: list[str]
    ckpt_path: str | None
    flags: list[str]

    @classmethod
    def split(cls, arguments: list[str]) -> "CommandLine":
        """Split the options of a subcommand.

        Raises:
            InputError: an option lacks its value.
        """
        p = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        p.add_argument("-c", "--config", action="append", default=[])
        p.add_argument("--ckpt_path")
        _refuse_missing_values(arguments)
        options, flags = _parse_known(p, arguments)
        ckpt_path = None if options.ckpt_path in ("null", "None") else options.ckpt_path
        return cls(options.config, ckpt_path, flags)

    @property
    def may_name_data(self) -> bool:
        """Return whether the options may name the class of the data module, by ``--data`` or in a file."""
        return bool(self.files) or any(key in ("data", "data.class_path") for key, _ in _flag_keys(self.flags))

    def read(self, parser: RunParser, classes: Values) -> Values:
        """Parse files and flags.

        Args:
            parser: the parser of the subcommand.
            classes: class paths of model and data for options that do not name them.

        Raises:
            InputError: a flag sets an argument of a class that no option names.
        """
        values, namespace = classes, nest(classes)
        for file in self.files:
            with reading(file):
                namespace = parser.parse_part(["--config", file], namespace)
            values = _changed_values(values, flatten(namespace, Origin("file", file)))
        self._refuse_flags_without_class(values)
        others, texts = _split_texts(quote_flags(self.flags))
        namespace = parser.parse_part(others, namespace)
        flags = dict(_flag_keys(others))
        parsed = {key: Value(value, _flag_of(key, flags)) for key, value in namespace.clone(with_meta=False).items()}
        values = _changed_values({key: value for key, value in values.items() if key not in flags}, parsed)
        values |= texts
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
                raise InputError(f"{flag} needs a {part} class first: put -c FILE or --{part}=CLASS before it")


def _refuse_missing_values(arguments: list[str]) -> None:
    """Refuse a flag of the model or the data without a value; argparse would name ``--model`` or ``--data``.

    Raises:
        InputError: a flag lacks its value.
    """
    for argument, following in itertools.pairwise([*arguments, "--"]):
        is_nested = argument.startswith(("--data.", "--model.")) and "=" not in argument
        if is_nested and not argument.endswith(".help") and following.startswith("--"):
            raise InputError(f"{argument} has no value. Give one, as in {argument}=VALUE")


def _split_texts(flags: list[str]) -> tuple[list[str], Values]:
    """Return the flags without texts that YAML would not read as a text, such as ``a: b.txt``, and these texts."""
    others: list[str] = []
    texts: Values = {}
    rest = iter(flags)
    for flag in rest:
        name, equals, value = flag.partition("=")
        given = [flag] if equals or name not in _TEXTS else [flag, next(rest, "")]
        text = value if equals else given[-1]
        if name in _TEXTS and not _is_yaml(text):
            # jsonargparse would still read "# a.txt" as null, and "- a.txt" as a list.
            shown = f"./{text}" if name in _PATHS and text.startswith(("#", "-")) else text
            texts[full_key(name.removeprefix("--"))] = Value(shown, Origin("flag", name))
        else:
            others += given
    return others, texts


def _is_yaml(path: str) -> bool:
    """Return whether the parser reads a path as it is, or as a list of paths or null."""
    try:
        value = yaml.safe_load(path)
    except (yaml.YAMLError, ValueError):
        return path.isprintable()
    is_list = isinstance(value, list) and path.startswith("[")
    return is_list or value == path or path in ("", "null", "None", "~")


def _changed_values(before: Values, after: Values) -> Values:
    """Return ``after``; values that are the same in ``before`` keep their origin from there."""
    return {
        key: before[key] if key in before and before[key].value == value.value else value
        for key, value in after.items()
    }


def _flag_of(key: str, flags: dict[str, str]) -> Origin:
    """Return the flag that sets a key: its own, or that of its class or group."""
    own = max((each for each in flags if f"{key}.".startswith(f"{each}.")), key=len, default=None)
    return Origin("flag", "" if own is None else flags[own])


def _flag_keys(flags: list[str]) -> Iterator[tuple[str, str]]:
    """Yield for each flag the key that it sets in a configuration, and the flag."""
    for argument in flags:
        if argument.startswith("--"):
            flag = argument.partition("=")[0].removesuffix("+")
            yield full_key(flag.removeprefix("--")), flag


def predict_shorthand() -> argparse.ArgumentParser:
    """Return the parser of the short options of ``predict``, each of which replaces a longer one."""
    p = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    group = p.add_argument_group("Short form")
    group.add_argument("--model", help=f"{MODEL_HELP}; it needs --input")
    group.add_argument("--input", metavar="FILE", help="rows to predict; - reads JSON lines from standard input")
    group.add_argument("--output", metavar="FILE", help="file to write")
    group.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")
    return p


def read_predict_shorthand(arguments: list[str], stack: ExitStack) -> tuple[list[str], dict[str, Any]]:
    """Read ``--model MODEL --input FILE [--output FILE] [--overwrite]`` of ``predict``.

    ``--overwrite`` can be added to the long form, too.

    Standard input is copied to a temporary file, because it is read more than once.

    Args:
        arguments: the name of the subcommand and its options.
        stack: deletes the temporary file when it closes.

    Returns:
        The other arguments, and the values of these options by the keys of the longer ones.
    """
    options, others = _parse_known(predict_shorthand(), arguments)
    overwrite = {"predictions.overwrite": True} if options.overwrite else {}
    if options.input is None:
        if options.model is not None and Path(options.model).exists():
            raise InputError(f"--model {options.model} is a checkpoint, which needs rows. Add --input FILE")
        return [argument for argument in arguments if argument != "--overwrite"], overwrite
    if options.input == "-":
        options.input = _standard_input(stack)
    given = {"ckpt_path": options.model, "data.test": options.input, "predictions.path": options.output}
    return others, {key: value for key, value in given.items() if value is not None} | overwrite


def _standard_input(stack: ExitStack) -> str:
    """Return the path of a file with the rows on standard input, which all processes of the run read.

    Raises:
        InputError: torchrun or another launcher has started this process, so that all of them share standard input.
    """
    if (shared := os.environ.get(_INPUT)) is not None:
        return shared
    if "LOCAL_RANK" in os.environ:
        raise InputError("--input - cannot be shared by processes of a launcher. Save the rows in a file, and name it")
    file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "input.jsonl"
    file.write_bytes(sys.stdin.buffer.read())
    os.environ[_INPUT] = str(file)  # the processes of other devices inherit it
    stack.callback(os.environ.pop, _INPUT)
    return str(file)


SHORT_NAMES: Final = {"data.test": "--input", "predictions.path": "--output", "ckpt_path": "--model"}
"""Key of a longer option -> short option of ``predict``."""


@contextmanager
def naming_shorthand(given: Container[str], names: Mapping[str, str] = SHORT_NAMES) -> Iterator[None]:
    """Name the options that the user gave, ``--input`` and so on, in errors about the longer options.

    Args:
        given: keys of the longer options that were given by short ones.
        names: key of a longer option -> its short option.
    """
    try:
        yield
    except InputError as error:
        text = str(error)
        for key, short in names.items():
            if key in given and short not in text:  # some messages name both
                text = text.replace(f"--{key}", short)
        raise InputError(text) from error


def _parse_known(parser: argparse.ArgumentParser, arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    try:
        return parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise InputError(str(error)) from None
