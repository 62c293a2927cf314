"""Data module of a configuration, built as ``fit`` builds it, without a model, a Trainer and a run folder."""

import lightning.pytorch as L
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from gpt_lightning.commands.run.classes import class_at, refuse_mismatch
from gpt_lightning.commands.run.cli import CLI
from gpt_lightning.commands.run.hidden_messages import hide_messages
from gpt_lightning.data.base import DataModule
from gpt_lightning.downloads import no_download_of
from gpt_lightning.errors import InputError


class DataOnlyCLI(CLI):
    """Command line of ``fit`` that only builds the data module.

    The guard, the parser and the values of a checkpoint or of pretrained weights are those of ``fit``.
    """

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return ``fit`` only, because building the parsers of the others takes time."""
        return {"fit": CLI.subcommands()["fit"]}

    def instantiate_classes(self) -> None:
        """Build the data module, after checking that the model can read the data."""
        config = self.config["fit"]
        refuse_mismatch(*(class_at(config[part].class_path) for part in ("model", "data")))
        parser = LightningArgumentParser()
        parser.add_lightning_class_args(L.LightningDataModule, "data", subclass_mode=True)
        with no_download_of(self.unnamed_models):
            self.datamodule = parser.instantiate_classes(Namespace(data=config.data)).data  # type: ignore[no-untyped-call]

    def _run_subcommand(self, subcommand: str) -> None:
        """Do nothing."""


def data_module(arguments: list[str]) -> DataModule:
    """Return the data module for the options of ``fit``, before its setup.

    Raises:
        InputError: the options are invalid, or the data module is not derived from ``DataModule``.
    """
    hide_messages()
    found = DataOnlyCLI(["fit", *arguments]).datamodule
    if not isinstance(found, DataModule):
        raise InputError(
            f"{type(found).__name__} is not derived from gpt_lightning.data.base.DataModule, so its batches are "
            "unknown. Derive it, or look at its batches in Python"
        )
    return found
