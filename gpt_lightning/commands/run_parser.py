"""The parser of ``fit`` and its siblings: it knows the keys of every task and data module."""

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any, get_type_hints

import lightning.pytorch as L
from lightning.pytorch.cli import LightningArgumentParser

from gpt_lightning.commands.parser import Parser
from gpt_lightning.tasks import Task


class RunParser(Parser, LightningArgumentParser):
    """LightningCLI's parser with our errors."""

    def known_keys(self) -> Iterator[str]:
        """The classes' keys first: a parser of one class's arguments knows the ends of its keys only."""
        yield from _class_keys("model", Task)
        yield from _class_keys("data", L.LightningDataModule)
        yield from super().known_keys()


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
