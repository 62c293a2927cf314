"""``fit``, ``validate``, ``test`` and ``predict``: LightningCLI with our defaults."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from gpt_lightning import data, tasks, training
from gpt_lightning.commands.from_checkpoint import with_backbone, with_checkpoint
from gpt_lightning.commands.run_parser import RunParser
from gpt_lightning.errors import InputError
from gpt_lightning.tasks import Task
from gpt_lightning.training.checkpoint import make_folder
from gpt_lightning.training.progress import progress_bar


class SaveConfig(SaveConfigCallback):
    """Writes the whole configuration of a training run into its folder, and as text to TensorBoard."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Save on ``fit`` only, as measuring a run does not change what it is, and only where a run has a folder."""
        if stage == "fit" and trainer.loggers:
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Add the text."""
        if isinstance(trainer.logger, TensorBoardLogger):
            text = self.parser.dump(self.config, skip_none=False)
            trainer.logger.experiment.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()))


class CLI(LightningCLI):
    """LightningCLI whose runs live in ``<log_dir>/<experiment>/version_N`` and whose flags win over checkpoints."""

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(
            Task,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            parser_class=RunParser,
            save_config_callback=SaveConfig,
            # A legitimate resume goes on in its own folder; a new run has a new one.
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            trainer_defaults={
                # Ours: every rank draws its own rows.
                "use_distributed_sampler": False,
                "enable_model_summary": False,
                "gradient_clip_val": 1.0,
                "log_every_n_steps": 10,
                "num_sanity_val_steps": 0,
            },
            args=arguments,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The Trainer's, without the options that are ours to decide."""
        return {name: skipped | {"verbose", "weights_only"} for name, skipped in LightningCLI.subcommands().items()}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Where a run lives, what is kept of it, and which numbers data and model share."""
        parser.add_argument("--experiment", type=str, default="default", help="name of the run's folder in log_dir")
        parser.add_argument("--log_dir", type=str, default="logs", help="folder of all experiments")
        parser.add_lightning_class_args(training.Checkpoints, "checkpoints")
        parser.add_lightning_class_args(training.Samples, "samples")
        parser.add_lightning_class_args(training.PredictionWriter, "predictions")
        # A link whose source or target the chosen classes do not have is left out.
        parser.link_arguments("data.vocab_size", "model.init_args.vocab_size", apply_on="instantiate")
        parser.link_arguments("data.labels", "model.init_args.labels", apply_on="instantiate")
        parser.link_arguments("model.init_args.backbone.block_size", "data.init_args.block_size")
        parser.link_arguments("model.init_args.multi_label", "data.init_args.multi_label")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, with what a checkpoint says underneath what the user says."""
        ckpt_path = _option(args, "--ckpt_path")
        if ckpt_path is None:
            self.config = parser.parse_args(args)
            ckpt_path = self.config[self.config.subcommand].ckpt_path  # a YAML may name it
        if ckpt_path is not None:
            self.config = parser.parse_args(with_checkpoint(parser, args, ckpt_path))
        elif self.config[self.config.subcommand].model.get("init_args", {}).get("init_from") is not None:
            self.config = parser.parse_args(with_backbone(args, self.config[self.config.subcommand]))
        elif self.config.subcommand != "fit":
            raise InputError("nothing to measure: give --ckpt_path=CHECKPOINT, or the folder of a run")

    def instantiate_classes(self) -> None:
        """Build everything, once it is clear that the data makes what the model reads."""
        config = self.config[self.config.subcommand]
        task, module = (config[part].class_path.rpartition(".")[2] for part in ("model", "data"))
        batch = getattr(getattr(tasks, task, None), "batch", None)
        fitting = [name for name in data.__all__ if getattr(data, name).batch is batch]
        if module in data.__all__ and fitting and module not in fitting:
            raise InputError(f"model {task} and data {module} do not go together; {task} takes --data={fitting[0]}")
        super().instantiate_classes()

    def _parse_ckpt_path(self) -> None:
        """Lightning would let the checkpoint win over flags; ``parse_arguments`` has done it the other way round."""

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Our callbacks and, unless the configuration names another, our logger."""
        config = self.config[self.config.subcommand]
        if config.trainer.logger in (None, True):
            new = self.config.subcommand == "fit" and not config.trainer.fast_dev_run
            kwargs["logger"] = self._logger(config) if new else False
        trainer = self.config_init[self.config_init.subcommand].trainer
        bar = [] if trainer.enable_progress_bar is False else [progress_bar()]
        ours = [
            training.RandomnessByPosition(),
            training.ValidationAtEnd(),
            training.Throughput(),
            training.Reports(),
            training.Evaluation(),
            training.Summary(),
            *bar,
        ]
        trainer.callbacks = [*(trainer.callbacks or []), *ours]
        kwargs["enable_progress_bar"] = any(isinstance(callback, ProgressBar) for callback in bar)
        with no_empty_folder(kwargs.get("logger")):
            return super().instantiate_trainer(**kwargs)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[L.Callback]) -> L.Trainer:
        """Without our checkpoints, where they are not wanted."""
        if config["enable_checkpointing"] is False:
            callbacks = [callback for callback in callbacks if not isinstance(callback, training.Checkpoints)]
        return super()._instantiate_trainer(config, callbacks)

    def _logger(self, config: Namespace) -> TensorBoardLogger:
        root = Path(config.log_dir) / config.experiment
        run = resumed_run(config.ckpt_path, root) or new_run(root)
        return TensorBoardLogger(
            config.log_dir, config.experiment, version=int(run.name.removeprefix("version_")), default_hp_metric=False
        )

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Checkpoints are read without pickle, wherever they are."""
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand == "predict":
            kwargs["return_predictions"] = False
        if subcommand in ("validate", "test"):
            kwargs["verbose"] = False  # Evaluation prints
        return kwargs | {"weights_only": True}

    def _run_subcommand(self, subcommand: str) -> None:
        with no_empty_folder(self.trainer.logger):
            super()._run_subcommand(subcommand)

    def after_fit(self) -> None:
        """A run without a single step has not finished: it has failed."""
        if self.trainer.global_step == 0:
            raise InputError(
                "no step was taken: look at trainer.max_steps, trainer.max_epochs and trainer.limit_train_batches"
            )


@contextlib.contextmanager
def no_empty_folder(logger: Logger | bool | None) -> Iterator[None]:
    """Take a run's folder away again if what happens inside fails before anything is in it."""
    try:
        yield
    except Exception:
        if isinstance(logger, TensorBoardLogger) and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            with contextlib.suppress(OSError):  # it is not empty
                Path(logger.log_dir).rmdir()
        raise


def _option(arguments: list[str], name: str) -> str | None:
    """The value of the last ``name VALUE`` or ``name=VALUE``."""
    value = None
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        if argument == name:
            value = following
        elif argument.startswith(f"{name}="):
            value = argument.partition("=")[2]
    return value


def resumed_run(ckpt_path: str | None, root: Path) -> Path | None:
    """The run below ``root`` that the checkpoint belongs to, or None."""
    if ckpt_path is None:
        return None
    run = Path(ckpt_path).resolve().parent.parent
    is_run = run.name.startswith("version_") and run.name.removeprefix("version_").isdecimal()
    return run if is_run and run.parent == root.resolve() else None


def new_run(root: Path) -> Path:
    """A folder ``version_N`` that nobody had before; two that start at once get two."""
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        return root / "version_0"  # only rank zero writes, and tells the others where
    make_folder(root)
    number = 0
    while True:
        run = root / f"version_{number}"
        try:
            run.mkdir()
        except FileExistsError:
            number += 1
        else:
            return run


def quiet() -> None:
    """Keep Lightning's advice for users of its own API off our users' screens."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*smaller than the logging interval.*",  # we log by optimizer steps, which go on from epoch to epoch
        ".*LeafSpec.*",
        "Total length of `list` across ranks is zero.*",
        ".*sync_dist=True.*",  # our metrics are summed over ranks before they are logged
    ):
        warnings.filterwarnings("ignore", message=message)


def main(arguments: list[str]) -> int:
    """Run one of the Trainer's subcommands."""
    quiet()
    try:
        CLI(arguments)
    except MisconfigurationException as error:
        raise InputError(str(error)) from error
    return 0
