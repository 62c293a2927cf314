"""Parser of ``fit``, ``validate``, ``test`` and ``predict``."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

import lightning.pytorch as L
from jsonargparse import Namespace, set_parsing_settings
from lightning.pytorch import callbacks, loggers, plugins, profilers, strategies
from lightning.pytorch.cli import LightningArgumentParser

from gpt_lightning import data, tasks
from gpt_lightning.commands.guard.config_guard import TRUSTED
from gpt_lightning.commands.hints import unknown_class
from gpt_lightning.commands.parser import Parser
from gpt_lightning.tasks import Task
from gpt_lightning.tasks.saving import arguments_of

_DENIED: Final = re.compile(r"Importing '(([^'.]+)[^']*)' is not allowed")
"""Message of jsonargparse for an import that ``importing_only`` forbids."""
_NO_CLASS: Final = re.compile(r"Expected a dot import path string: (\w+)$", re.MULTILINE)
_KEY: Final = re.compile(r'Parser key "(.+?)"')
_MISSING: Final = "the following arguments are required: "


class RunParser(Parser, LightningArgumentParser):
    """LightningCLI's parser with short errors, which can also parse parts of a configuration."""

    _validates = True

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print a message in short and exit with 2; for a forbidden import it says how to allow it."""
        if denied := _DENIED.search(message):
            message = (
                f"{denied[1]} would import {denied[2]}, which is not allowed. "
                f"Add --allow_import {denied[2]} if you trust its code"
            )
        if (unknown := _NO_CLASS.search(message)) and (key := _KEY.search(message)) and (known := class_names(key[1])):
            message = unknown_class(key[1], unknown[1], known)
        if message.startswith(_MISSING):
            message = _missing(message.removeprefix(_MISSING))
        super().error(message, ex)

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


def class_names(key: str) -> list[str]:
    """Return the names of the classes that a key of the configuration takes; empty if it takes no class."""
    name = key.rpartition(".")[2]
    if name in ("model", "data"):
        home = tasks if name == "model" else data
        return [each for each in home.__all__ if each != "Task"]
    homes = {
        "callbacks": callbacks,
        "logger": loggers,
        "plugins": plugins,
        "profiler": profilers,
        "strategy": strategies,
    }
    return list(homes[name].__all__) if name in homes else []


def _missing(keys: str) -> str:
    """Return a message about keys without a value and without a default."""
    names = [name.rpartition(".")[2] for name in keys.split(", ")]
    classes = " ".join(f"--{name}={class_names(name)[0]}" for name in names if name in ("model", "data"))
    hint = f"Give a configuration with -c FILE, or write {classes}" if classes else "Give each a value"
    return f"{' and '.join(names)}: no value is given. {hint}"


def defaults_of(owner: type[Any]) -> Namespace:
    """Return the default of each argument of a class, with a namespace for each dataclass."""
    return arguments_of(owner).get_defaults(skip_validation=True)


@contextlib.contextmanager
def importing_only(allowed: Sequence[str]) -> Iterator[None]:
    """Forbid parsers to import anything but the given packages for a value.

    This is a second guard, for places of classes that ``config_guard.py`` has not recognized.
    """
    set_parsing_settings(
        import_path_denylist=["*"],
        import_path_allowlist=list(allowed),
        config_read_mode_fsspec_enabled=False,  # Lightning allows configurations from URLs, which are not checked
    )
    try:
        yield
    finally:
        # Lists can only grow. A package that is allowed again later wins over its entry here.
        own = [name for name in allowed if name.split(".")[0] not in TRUSTED]
        set_parsing_settings(import_path_denylist=own)


def _class_keys(prefix: str, base: type[Any]) -> Iterator[str]:
    """Yield every argument of the subclasses of a class as on the command line, such as ``model.backbone.n_layer``."""
    for subclass in base.__subclasses__():
        if subclass.__module__.startswith("gpt_lightning."):
            yield from (action.dest for action in arguments_of(subclass, prefix)._actions if "." in action.dest)
        yield from _class_keys(prefix, subclass)
