"""The parser of ``fit`` and its siblings: it knows the keys of every task and data module."""

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn, get_type_hints

import lightning.pytorch as L
from jsonargparse import set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser

from gpt_lightning.commands.guard.config_guard import TRUSTED
from gpt_lightning.commands.parser import Parser
from gpt_lightning.tasks import Task

_DENIED: Final = re.compile(r"Importing '(([^'.]+)[^']*)' is not allowed")
"""How jsonargparse says what ``importing_only`` makes it refuse."""


class RunParser(Parser, LightningArgumentParser):
    """LightningCLI's parser with our errors."""

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

    def known_keys(self) -> Iterator[str]:
        """The classes' keys first: a parser of one class's arguments knows the ends of its keys only."""
        yield from _class_keys("model", Task)
        yield from _class_keys("data", L.LightningDataModule)
        yield from super().known_keys()


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
    """Every argument of the classes below ``base``, as on the command line: ``model.backbone.n_layer``."""
    for subclass in base.__subclasses__():
        if subclass.__module__.startswith("gpt_lightning."):
            yield from _argument_keys(prefix, subclass)
        yield from _class_keys(prefix, subclass)


def _argument_keys(prefix: str, owner: Any) -> Iterator[str]:
    hints = get_type_hints(owner.__init__)
    for name in inspect.signature(owner).parameters:
        yield f"{prefix}.{name}"
        if dataclasses.is_dataclass(hints.get(name)):
            yield from _argument_keys(f"{prefix}.{name}", hints[name])
