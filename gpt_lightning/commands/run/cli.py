"""LightningCLI with our defaults, for ``fit``, ``validate``, ``test`` and ``predict``."""

import argparse
import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from gpt_lightning import training
from gpt_lightning.checkpoints.run_folder import (
    claim,
    delete_unfinished_checkpoints,
    named_run,
    new_run,
    release_empty,
    resumed_run,
)
from gpt_lightning.commands.guard.checkpoint_guard import refuse_class_of_checkpoint
from gpt_lightning.commands.guard.config_guard import TRUSTED, check
from gpt_lightning.commands.run.classes import class_at, link, refuse_mismatch
from gpt_lightning.commands.run.command_line import CommandLine, read_predict_shorthand
from gpt_lightning.commands.run.device import choose, find_device, keep_freed_memory
from gpt_lightning.commands.run.next_steps import how_to_resume, next_steps
from gpt_lightning.commands.run.parser import RunParser, importing_only
from gpt_lightning.commands.run.resume import INIT_FROM, Saved, resumable, with_backbone
from gpt_lightning.commands.run.save_config import SaveConfig
from gpt_lightning.commands.run.value_layers import Values, from_flags, nest, overlay
from gpt_lightning.errors import InputError, Interrupted
from gpt_lightning.models import huggingface
from gpt_lightning.models.lm_head import LMHead
from gpt_lightning.status import status
from gpt_lightning.tasks import Task
from gpt_lightning.training.progress_bar import progress_display


class CLI(LightningCLI):
    """LightningCLI whose runs live in ``<log_dir>/<experiment>/version_N`` and whose flags win over checkpoints."""

    def __init__(self, arguments: list[str], overrides: Mapping[str, Any] | None = None) -> None:
        """Run a subcommand.

        Args:
            arguments: the subcommand's name and its options.
            overrides: values that win over the options, by the keys of flags: ``{"trainer.max_steps": 5}``.

        Raises:
            InputError: the options, or the files and the data that they name, are invalid.
        """
        self.arguments, self.given = arguments, dict(overrides or {})
        self.overrides = from_flags(self.given)
        if (ckpt_path := (overrides or {}).get("ckpt_path")) is not None:
            refuse_class_of_checkpoint(Path(ckpt_path))  # the guard sees arguments only
        self.interruption = training.Interruption()
        self.model_folder: Path | None = None  # in place of a checkpoint
        checked = check(arguments)
        self.allowed = [name for name in checked.allowed if name.split(".")[0] not in TRUSTED]
        with importing_only(checked.allowed):
            self._start(checked.arguments)

    def _start(self, arguments: list[str]) -> None:
        super().__init__(
            Task,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            parser_class=RunParser,
            save_config_callback=SaveConfig,
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
        """Add where a run lives, and what is kept of it."""
        parser.add_argument("--experiment", type=str, default="default", help="name of the run's folder in log_dir")
        parser.add_argument(
            "--name",
            type=str | None,
            default=None,
            help="name of the run: its folder is log_dir/experiment/name, and TensorBoard shows it by this name. A "
            "name that is taken is refused, unless --resume=auto continues that run; null takes version_0, version_1, "
            "and so on",
        )
        parser.add_argument("--log_dir", type=str, default="logs", help="folder of all experiments")
        parser.add_argument(
            "--resume",
            type=Literal["never", "auto"],
            default="never",
            help="auto: fit continues the run called --name, or else the experiment's newest run without a name, from "
            "its newest undamaged checkpoint. The same command then starts the run and resumes it each time it was "
            "stopped",
        )
        parser.add_argument(
            "--activation_checkpointing",
            type=bool,
            default=False,
            help="keep of each block only what goes in, and compute the rest anew in the backward pass: less memory, a "
            "third more computation, the same numbers",
        )
        parser.add_argument(
            "--compile",
            type=bool | None,
            default=None,
            help="compile the backbone: faster steps after a slow first one, the same numbers up to rounding, other "
            "random ones for dropout; null is true on GPUs that train alone or by ddp, and false elsewhere",
        )
        # For --help alone: config_guard reads it and takes it out.
        parser.add_argument(
            "--allow_import",
            type=str,
            metavar="NAME",
            default=argparse.SUPPRESS,
            help="a package of your own that class paths may name, besides gpt_lightning, lightning, torch and "
            "torchmetrics; may be given several times, on the command line only",
        )
        parser.add_lightning_class_args(training.Checkpoints, "checkpoints")
        parser.add_lightning_class_args(training.Samples, "samples")
        parser.add_lightning_class_args(training.LMEval, "lm_eval")
        parser.add_lightning_class_args(training.PredictionWriter, "predictions")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read the command line into values, put a checkpoint's values underneath, and complete them with defaults."""
        subcommand, line = args[0], CommandLine.split(args[1:])
        run = self._subcommand_parsers[subcommand]
        assert isinstance(run, RunParser)
        given = self.overrides.get("ckpt_path")
        ckpt_path = line.ckpt_path if given is None else given.value
        saved = None if ckpt_path is None else Saved.read(run, ckpt_path, subcommand, self.allowed)
        if saved is not None:
            saved.check_data(line.may_name_data)
        said = overlay(line.read(run, saved.classes if saved else {}), self.overrides)
        if saved is None and (found := self._find_checkpoint(run, said, subcommand)) is not None:
            saved = Saved.read(run, found, subcommand, self.allowed)
            said = overlay(saved.classes, said)
        values = self._merge_checkpoint(saved, said, subcommand)
        if "model.class_path" in values and "data.class_path" in values:
            link(run, *(class_at(values[f"{part}.class_path"].value) for part in ("model", "data")))
        self.config = parser.parse_object({"subcommand": subcommand, subcommand: nest(values)})

    @staticmethod
    def _find_checkpoint(parser: RunParser, said: Values, subcommand: str) -> str | None:
        """Return the checkpoint that a file names, or the one to resume from."""
        named = said["ckpt_path"].value if "ckpt_path" in said else None
        return resumable(parser, said) if named is None and subcommand == "fit" else named

    def _merge_checkpoint(self, saved: Saved | None, said: Values, subcommand: str) -> Values:
        """Return the user's values with those of the checkpoint that they continue, evaluate or start from."""
        if saved is not None:
            self.model_folder = saved.path if saved.path.is_dir() else None
            return saved.under(said, subcommand)
        if INIT_FROM in said and said[INIT_FROM].value is not None:
            return with_backbone(said, self.allowed)
        if subcommand != "fit":
            raise InputError("no checkpoint to evaluate: give --ckpt_path=CHECKPOINT, or the folder of a run")
        return said

    def instantiate_classes(self) -> None:
        """Build everything, once it is clear that the data makes what the model reads."""
        config = self.config[self.config.subcommand]
        refuse_mismatch(*(class_at(config[part].class_path) for part in ("model", "data")))
        with status("Reading the data and building the model"):
            super().instantiate_classes()
        self.model.backbone.checkpoint_activations(config.activation_checkpointing)
        if self.model_folder is not None:
            huggingface.load_weights(self.model, huggingface.read_config(self.model_folder))

    def _parse_ckpt_path(self) -> None:
        """Lightning would let the checkpoint win over flags; ``parse_arguments`` has done it the other way round."""

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Our callbacks, what suits the device and, unless the configuration names another, our logger."""
        config = self.config[self.config.subcommand]
        kwargs |= self._for_device(config)
        if config.trainer.logger not in (None, True) and config.name is not None and self.config.subcommand == "fit":
            raise InputError("--name names the run of the default logger. Name it in trainer.logger, or leave one out")
        if config.trainer.logger in (None, True):
            new = self.config.subcommand == "fit" and not config.trainer.fast_dev_run
            kwargs["logger"] = self._logger(config) if new else False
        trainer = self.config_init[self.config_init.subcommand].trainer
        progress = [] if trainer.enable_progress_bar is False else [progress_display()]
        ours = [
            training.RandomnessByPosition(),
            training.StepAxis(),
            training.Monitors(),
            training.Validations(),
            training.Throughput(),
            training.Reports(),
            *progress,
            training.Evaluation(self.model_folder),
            training.Summary(),
            self.interruption,
        ]
        theirs = [trainer.callbacks] if isinstance(trainer.callbacks, L.Callback) else trainer.callbacks or []
        trainer.callbacks = [*theirs, *ours]
        kwargs["enable_progress_bar"] = False  # of Lightning
        with no_empty_folder(kwargs.get("logger")):
            return super().instantiate_trainer(**kwargs)

    def _for_device(self, config: Namespace) -> dict[str, Any]:
        """The Trainer's precision, where the user leaves it open; the model is compiled, where that is wanted.

        On a processor, memory stays.
        """
        trainer, strategy = config.trainer, config.trainer.strategy
        device = find_device(trainer.accelerator)
        if device.capability is None:
            keep_freed_memory()
        is_simple = isinstance(strategy, str) and strategy.startswith(("auto", "ddp"))
        choice = choose(
            device,
            has_precision=trainer.precision is not None or bool(trainer.plugins),  # one of which may be a precision
            compiles=config.compile,
            pays=is_simple and self.config.subcommand == "fit",
        )
        if choice.said and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            print(choice.said, flush=True)
        if choice.compile:
            self.model.backbone.compile()  # the module in place: the names of its weights stay
            if isinstance(self.model.head, LMHead):
                self.model.head.compile()
        return {} if choice.precision is None else {"precision": choice.precision}

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[L.Callback]) -> L.Trainer:
        """Without our checkpoints, where they are not wanted."""
        if config["enable_checkpointing"] is False:
            callbacks = [callback for callback in callbacks if not isinstance(callback, training.Checkpoints)]
        return super()._instantiate_trainer(config, callbacks)

    def _logger(self, config: Namespace) -> TensorBoardLogger:
        root = Path(config.log_dir) / config.experiment
        delete_unfinished_checkpoints(root)
        run = resumed_run(config.ckpt_path, root)
        if config.name is not None and (run is None or run.name != config.name):
            run = named_run(root, config.name, is_resumed=config.resume == "auto")
        elif run is None:
            run = new_run(root)
        return TensorBoardLogger(config.log_dir, config.experiment, version=run.name, default_hp_metric=False)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Checkpoints are read without pickle, wherever they are."""
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand == "predict":
            kwargs["return_predictions"] = False
        if subcommand in ("validate", "test"):
            kwargs["verbose"] = False  # Evaluation prints
        if self.model_folder is not None:
            kwargs["ckpt_path"] = None  # its weights are there already
        return kwargs | {"weights_only": True}

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            with no_empty_folder(self.trainer.logger), self._claim(subcommand), self.interruption.handling():
                super()._run_subcommand(subcommand)
        except Interrupted as interruption:
            if subcommand == "fit" and self.trainer.is_global_zero:
                message = how_to_resume(self.trainer, interruption, self.arguments, self.given)
                print(message, file=sys.stderr, flush=True)
            raise

    def _claim(self, subcommand: str) -> contextlib.AbstractContextManager[None]:
        """Keep other processes and other runs out of the folder that training writes to."""
        logger = self.trainer.logger
        if subcommand != "fit" or not isinstance(logger, TensorBoardLogger | CSVLogger):
            return contextlib.nullcontext()
        if not self.trainer.is_global_zero:
            return contextlib.nullcontext()
        run, config = Path(logger.log_dir), self.config.fit
        # A named run that was killed before its first checkpoint starts again in its folder.
        is_named = config.name == run.name and config.resume == "auto"
        is_resumed = is_named or resumed_run(config.ckpt_path, run.parent) == run.resolve()
        return claim(run, is_resumed)

    def after_fit(self) -> None:
        """A run without a single step has not finished: it has failed."""
        config, step = self.config[self.config.subcommand], self.trainer.global_step
        if self.model.first_step is not None and step > self.model.first_step:
            return
        if any(isinstance(each, training.Validations) and each.has_repeated for each in self.trainer.callbacks):  # type: ignore[attr-defined]
            return
        if config.resume == "auto" and step > 0:
            print(f"nothing was left to do: the run stands at step {step}")
            return
        raise InputError(
            f"no step was taken, the run stands at step {step}: "
            "look at trainer.max_steps, trainer.max_epochs and trainer.limit_train_batches"
        )


@contextlib.contextmanager
def no_empty_folder(logger: Logger | bool | None) -> Iterator[None]:
    """Take a run's folder away again if what happens inside fails before anything is in it."""
    try:
        yield
    except Exception:
        if isinstance(logger, TensorBoardLogger) and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            release_empty(Path(logger.log_dir))
        raise


def quiet() -> None:
    """Keep Lightning's advice for users of its own API off our users' screens."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    for message in (
        "FLOPs not found for .*",  # of a GPU that Lightning's table lacks: it is measured then
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
        with contextlib.ExitStack() as stack:
            cli = CLI(*(read_predict_shorthand(arguments, stack) if arguments[0] == "predict" else (arguments, {})))
            if arguments[0] == "fit" and cli.trainer.is_global_zero and (steps := next_steps(cli.trainer, cli.allowed)):
                print(steps, flush=True)
    except MisconfigurationException as error:
        raise InputError(str(error)) from error
    return 0
