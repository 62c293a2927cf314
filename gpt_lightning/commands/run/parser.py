"""Parser of ``fit``, ``validate``, ``test`` and ``predict``."""

import contextlib
import re
from collections.abc import Iterator
from inspect import signature
from typing import Any, Final, NoReturn

import lightning.pytorch as L
import yaml
from jsonargparse import Namespace, set_loader
from lightning.pytorch.cli import LightningArgumentParser

from gpt_lightning.commands.guard.parser_imports import denied_name
from gpt_lightning.commands.guard.refusals import refused
from gpt_lightning.commands.parser import MISSING, Parser
from gpt_lightning.commands.run.label_names import load_yaml
from gpt_lightning.data.base import DataModule
from gpt_lightning.tasks import Task
from gpt_lightning.tasks.saving import arguments_of

_KEY: Final = re.compile(r"[Pp]arser key [\"']([\w.]+)[\"']")
"""Key in a message of jsonargparse."""

_PARSER_KEY: Final = re.compile(r"Parser key [\"'](?=\w)")
"""Start of a key in a message of jsonargparse."""

# jsonargparse writes defaults as YAML. Some of Lightning's are members of an enumeration, which are strings.
yaml.SafeDumper.add_multi_representer(str, yaml.SafeDumper.represent_str)
set_loader("yaml", load_yaml, (yaml.YAMLError,))


class RunParser(Parser, LightningArgumentParser):
    """LightningCLI's parser with short errors, which can also parse parts of a configuration."""

    _validates = True

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print a message in short and exit with 2; for a forbidden import it says how to allow it."""
        if (name := denied_name(message)) is not None:
            key = _KEY.search(message)
            message = refused(name) if key is None else f"{key[1]}: {refused(name)}"
        if message.startswith(MISSING):
            message = _missing_message(message.removeprefix(MISSING))
        if part := self._part():
            message = _PARSER_KEY.sub(rf"\g<0>{part}.", message)
        super().error(message, ex)

    def _part(self) -> str | None:
        """Return ``model`` or ``data`` for the parser of a task's or a data module's arguments; None for any other."""
        mine = {action.dest for action in self._actions}
        bases = {"model": Task, "data": DataModule}
        return next((part for part, base in bases.items() if mine.issuperset(signature(base).parameters)), None)

    def parse_args(self, args: Any = None, *rest: Any, **named: Any) -> Any:
        """Parse as jsonargparse does, but read a flag's ``None`` as null.

        jsonargparse passes a null among the arguments of a class to the parser of that class as ``None``.
        """
        if self._subcommands_action is None and args is not None:
            args = [re.sub("=None$", "=null", argument) for argument in args]
        return super().parse_args(args, *rest, **named)

    def parse_part(self, arguments: list[str], namespace: Namespace) -> Namespace:
        """Parse some of the arguments into a namespace, without defaults and without required arguments."""
        with self._without_validation():
            parsed: Namespace = self.parse_args(arguments, namespace=namespace, defaults=False)
        return parsed

    def parse_values(self, values: dict[str, Any]) -> Namespace:
        """Convert some values to the types of their arguments, without defaults and without required arguments."""
        with self._without_validation():
            parsed: Namespace = self.parse_object(values, defaults=False)
        return parsed

    @contextlib.contextmanager
    def _without_validation(self) -> Iterator[None]:
        self._validates = False
        try:
            yield
        finally:
            self._validates = True

    def validate(self, *args: Any, **kwargs: Any) -> None:
        """Validate as jsonargparse does, except while a part of a configuration is parsed."""
        if self._validates:
            super().validate(*args, **kwargs)

    def known_keys(self) -> Iterator[str]:
        """Yield the keys of all tasks and data modules first, then those of this parser.

        The parser of one class has only the last parts of its keys.
        """
        yield from _class_keys("model", Task)
        yield from _class_keys("data", L.LightningDataModule)
        yield from super().known_keys()


def _missing_message(keys: str) -> str:
    """Return a message about keys without a value and without a default."""
    names = [name.rpartition(".")[2] for name in keys.split(", ")]
    flags = " and ".join(f"--{name}=CLASS" for name in names if name in ("model", "data"))
    hint = f"Give a configuration with -c FILE, or {flags}" if flags else "Give each a value"
    return f"{' and '.join(names)}: no value is given. {hint}"


def defaults_of(owner: type) -> Namespace:
    """Return the default of each argument of a class, with a namespace for each dataclass."""
    return arguments_of(owner).get_defaults(skip_validation=True)


def _class_keys(prefix: str, base: type) -> Iterator[str]:
    """Yield every argument of the subclasses of a class as on the command line, such as ``model.backbone.n_layer``."""
    subclasses: list[type] = base.__subclasses__()
    for subclass in subclasses:
        if subclass.__module__.startswith("gpt_lightning."):
            yield from (action.dest for action in arguments_of(subclass, prefix)._actions if "." in action.dest)
        yield from _class_keys(prefix, subclass)
