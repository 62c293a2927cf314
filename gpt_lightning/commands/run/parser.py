"""The parser of ``fit``, ``validate``, ``test`` and ``predict``, which knows the keys of every task and data module."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

import lightning.pytorch as L
from jsonargparse import Namespace, set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser

from gpt_lightning.commands.guard.config_guard import TRUSTED
from gpt_lightning.commands.parser import Parser
from gpt_lightning.tasks import Task
from gpt_lightning.tasks.saving import arguments_of

_DENIED: Final = re.compile(r"Importing '(([^'.]+)[^']*)' is not allowed")
"""How jsonargparse says what ``importing_only`` makes it refuse."""


class RunParser(Parser, LightningArgumentParser):
    """LightningCLI's parser with our errors, and with parts of a configuration."""

    _validates = True

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say how an import is allowed."""
        if denied := _DENIED.search(message):
            message = (
                f"{denied[1]} would import {denied[2]}, which is not allowed; "
                f"add --allow_import {denied[2]} if you trust its code"
            )
        super().error(message, ex)

    def parse_args(self, args: Any = None, *rest: Any, **named: Any) -> Any:
        """As jsonargparse's, which hands a null inside of a class's arguments on to that class's parser as None."""
        if self._subcommands_action is None and args is not None:
            args = [re.sub("=None$", "=null", argument) for argument in args]
        return super().parse_args(args, *rest, **named)

    def parse_part(self, arguments: list[str], namespace: Namespace) -> Namespace:
        """Parse some of the arguments on top of ``namespace``: no defaults, and nothing is required."""
        with self._without_validation():
            parsed: Namespace = self.parse_args(arguments, namespace=namespace, defaults=False)
        return parsed

    def parse_values(self, values: dict[str, Any]) -> Namespace:
        """Give some values the types that the parser has for them: no defaults, and nothing is required."""
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
        """Validate as jsonargparse does, but not while parts are parsed."""
        if self._validates:
            super().validate(*args, **kwargs)

    def known_keys(self) -> Iterator[str]:
        """Yield the classes' keys first: a parser of one class's arguments knows the ends of its keys only."""
        yield from _class_keys("model", Task)
        yield from _class_keys("data", L.LightningDataModule)
        yield from super().known_keys()


def defaults_of(owner: type[Any]) -> Namespace:
    """Return the default of each argument of a class, one namespace for each dataclass among them."""
    return arguments_of(owner).get_defaults(skip_validation=True)


@contextlib.contextmanager
def importing_only(allowed: Sequence[str]) -> Iterator[None]:
    """Let parsers import for a value what ``allowed`` names, and what is below it, and nothing else.

    ``config_guard`` has read all values before; here a slot is closed that it does not know of.
    """
    set_parsing_settings(
        import_path_denylist=["*"],
        import_path_allowlist=list(allowed),
        config_read_mode_fsspec_enabled=False,  # Lightning's: configurations from URLs, which nobody has looked at
    )
    try:
        yield
    finally:
        # Settings can be added to, not taken back; what is allowed the next time wins over this.
        own = [name for name in allowed if name.split(".")[0] not in TRUSTED]
        set_parsing_settings(import_path_denylist=own)


def _class_keys(prefix: str, base: type[Any]) -> Iterator[str]:
    """Yield every argument of the classes below ``base``, as on the command line: ``model.backbone.n_layer``."""
    for subclass in base.__subclasses__():
        if subclass.__module__.startswith("gpt_lightning."):
            yield from (action.dest for action in arguments_of(subclass, prefix)._actions if "." in action.dest)
        yield from _class_keys(prefix, subclass)
