"""The configuration of a training run, in its folder and in its loggers."""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from jsonargparse import Namespace
from lightning.pytorch.cli import SaveConfigCallback

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.checkpoints.run_config import init_from_of
from gpt_lightning.checkpoints.run_folder import run_of
from gpt_lightning.commands.run.resume import INIT_FROM, LABELS, MODEL_LABELS
from gpt_lightning.data.labels import SavedLabels
from gpt_lightning.tasks.tags import CONFIG
from gpt_lightning.training.logger_media import code_block, name_gaps, show_text


class SaveConfig(SaveConfigCallback):
    """Callback that writes the full configuration of ``fit`` to the run's folder and to every logger that shows text.

    Evaluating a run does not change its configuration, so other subcommands save nothing.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Save the configuration on rank zero."""
        log_dir = trainer.log_dir  # a broadcast from rank zero: every rank must take part
        if stage != "fit" or log_dir is None or not trainer.is_global_zero:
            return
        # The file starts a new run with the same settings. It does not resume this one.
        config = _writable_value(self.config)
        if config.ckpt_path is not None and INIT_FROM in config and config[INIT_FROM] is None:
            # The checkpoint holds all weights, but a new run needs those that this one has started from.
            run = run_of(Path(config.ckpt_path))
            config[INIT_FROM] = None if run is None else init_from_of(run)
        config.ckpt_path, config.resume, config.name = None, "never", None
        if (text := config.get(MODEL_LABELS)) is not None:
            saved, config[MODEL_LABELS] = SavedLabels.from_json(text), None
            if saved.are_numbered and config[LABELS] is None:
                config[LABELS] = saved.names
        text = self.parser.dump(config, skip_none=False)
        with atomic_write(Path(log_dir) / self.config_filename) as file:
            file.write(text.encode())
        show_text(trainer, CONFIG, code_block(text))
        name_gaps(trainer)


def _writable_value(value: Any) -> Any:
    """Return a copy of a configuration without values that YAML cannot hold.

    These are defaults of Lightning's classes, such as ``torch.device("cpu")`` and members of an enumeration of texts,
    and the bytes of paths that are not UTF-8.
    """
    if isinstance(value, Namespace):
        return Namespace(**{key: _writable_value(each) for key, each in vars(value).items()})  # type: ignore[no-untyped-call]
    if isinstance(value, dict):
        return {key: _writable_value(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_writable_value(each) for each in value]
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return str(value) if isinstance(value, torch.device) else value
