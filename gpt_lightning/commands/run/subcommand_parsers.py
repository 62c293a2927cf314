"""Parsers of ``fit``, ``validate``, ``test`` and ``predict``, for help pages, completion and the schema."""

from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from gpt_lightning.commands.run.cli import CLI
from gpt_lightning.commands.run.parser import RunParser


class _ParsersOnly(CLI):
    """Parsers of the subcommands; nothing is parsed, built or run."""

    def _needs_options(self, subcommand: str) -> bool:
        return True

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = Namespace(subcommand=None)  # type: ignore[no-untyped-call]

    def _set_seed(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        pass


def subcommand_parsers() -> dict[str, RunParser]:
    """Return the parser of each subcommand."""
    parsers = _ParsersOnly(["fit"])._subcommand_parsers
    return {name: parser for name, parser in parsers.items() if isinstance(parser, RunParser)}
