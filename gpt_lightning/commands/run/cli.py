"""LightningCLI with the defaults of this project, for ``fit``, ``validate``, ``test`` and ``predict``."""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from jsonargparse import Namespace
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only

from gpt_lightning import training
from gpt_lightning.commands.guard.checkpoint_guard import refuse_class_of_checkpoint
from gpt_lightning.commands.guard.config_guard import check
from gpt_lightning.commands.guard.parser_imports import importing_only
from gpt_lightning.commands.parser import reading
from gpt_lightning.commands.run.classes import class_at, link, refuse_linked, refuse_mismatch
from gpt_lightning.commands.run.command_line import CommandLine, naming_shorthand, read_predict_shorthand
from gpt_lightning.commands.run.device import choose, find_device, keep_freed_memory
from gpt_lightning.commands.run.folder import own_folder
from gpt_lightning.commands.run.full_disk import reported_full_disk
from gpt_lightning.commands.run.full_help import describe, print_full_help
from gpt_lightning.commands.run.hidden_messages import hide_messages
from gpt_lightning.commands.run.init_from import with_backbone
from gpt_lightning.commands.run.loggers import build_loggers, fill_in_folder, loggers_of_run
from gpt_lightning.commands.run.next_steps import how_to_resume, next_steps
from gpt_lightning.commands.run.options import add_options, add_test_options
from gpt_lightning.commands.run.outcome import check_batches, check_steps
from gpt_lightning.commands.run.outputs import check_outputs
from gpt_lightning.commands.run.pages import wants_all
from gpt_lightning.commands.run.parser import RunParser
from gpt_lightning.commands.run.ranks import connect_ranks, needs_no_strategy
from gpt_lightning.commands.run.report_facts import changed_settings, commands_to_repeat
from gpt_lightning.commands.run.restoring import restoring
from gpt_lightning.commands.run.resume import INIT_FROM, Saved, find_resumable
from gpt_lightning.commands.run.save_config import SaveConfig
from gpt_lightning.commands.run.trainer import RunTrainer
from gpt_lightning.commands.run.trainer_checks import building, check_limit, check_processes, check_trainer, refusals
from gpt_lightning.commands.run.value_layers import Values, from_flags, nest, overlay
from gpt_lightning.commands.run.wrong_types import refuse_wrong_types, refuse_wrong_types_of_class
from gpt_lightning.downloads import no_download_of
from gpt_lightning.errors import InputError, Interrupted
from gpt_lightning.models import huggingface
from gpt_lightning.models.lm_head import LMHead
from gpt_lightning.printable import printable
from gpt_lightning.status import status
from gpt_lightning.tasks import Task
from gpt_lightning.training.progress_bar import progress_display


class CLI(LightningCLI):
    """LightningCLI with runs in ``<log_dir>/<experiment>/version_N`` and flags that win over checkpoints."""

    def __init__(self, arguments: list[str], overrides: Mapping[str, Any] | None = None) -> None:
        """Run a subcommand.

        Args:
            arguments: the name of the subcommand and its options.
            overrides: values that win over the options, by the keys of flags, such as ``{"trainer.max_steps": 5}``.

        Raises:
            InputError: the options, or the files and the data that they name, are invalid.
        """
        self.arguments, self.given = arguments, dict(overrides or {})
        self.overrides = from_flags(self.given)
        if (ckpt_path := (overrides or {}).get("ckpt_path")) is not None:
            refuse_class_of_checkpoint(Path(ckpt_path))  # check() sees only the arguments
        self.interruption = training.Interruption()
        self.model_folder: Path | None = None
        """The model folder that is evaluated, if it is not a checkpoint."""
        self.unnamed_models: list[str] = []
        """Models that a checkpoint names, but the user does not, so they are not downloaded."""
        checked = check(arguments)
        self.allowed = checked.own
        with importing_only(checked.own, checked.harmless), refusals(), contextlib.ExitStack() as self._run:
            self._start(checked.arguments)

    def _start(self, arguments: list[str]) -> None:
        super().__init__(
            Task,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            parser_class=RunParser,
            save_config_callback=SaveConfig,
            trainer_class=RunTrainer,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={"prog": "gpt-lightning"},
            trainer_defaults={
                # The loaders of this project give each rank its rows.
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
        """Return the subcommands, each with the arguments of the Trainer that are not options."""
        return {name: skipped | {"verbose", "weights_only"} for name, skipped in LightningCLI.subcommands().items()}

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Return the parser of a subcommand, with explanations of the options that Lightning adds.

        The parsers of subcommands that do not run have no options, because adding them takes a tenth of a second.
        """
        if not self._needs_options(subcommand):
            return self.init_parser(**kwargs)
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        assert isinstance(parser, RunParser)
        if subcommand == "test":
            add_test_options(parser)
        describe(parser, subcommand)
        return parser

    def _needs_options(self, subcommand: str) -> bool:
        return subcommand == self.arguments[0]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of this project."""
        add_options(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read the command line into values, merge a checkpoint's values under them, and fill in defaults."""
        subcommand = args[0]
        run = self._subcommand_parsers[subcommand]
        assert isinstance(run, RunParser)
        if wants_all(args):
            print_full_help(run, subcommand, args[1:])
        line = CommandLine.split(args[1:])
        given = self.overrides.get("ckpt_path")
        ckpt_path = line.ckpt_path if given is None else given.value
        saved = None if ckpt_path is None else Saved.read(run, ckpt_path, subcommand, self.allowed)
        if saved is not None:
            saved.check_data(line.may_name_data)
        user = overlay(line.read(run, saved.classes if saved else {}), self.overrides)
        if saved is None and (found := self._find_checkpoint(run, user, subcommand)) is not None:
            saved = Saved.read(run, found, subcommand, self.allowed)
            user = overlay(saved.classes, user)
        if saved is not None:
            user = overlay(saved.remembered_values(user, line.may_name_data), user)
        values = self._merge_checkpoint(saved, user, subcommand)
        check_outputs(values)
        if "model.class_path" in values and "data.class_path" in values:
            task, module = (class_at(values[f"{part}.class_path"].value) for part in ("model", "data"))
            refuse_linked(user, task, module)
            link(run, task, module)
        config = nest(values)
        fill_in_folder(config.get("trainer.logger"), config.get("log_dir", run.get_default("log_dir")))
        with reading(*line.files):
            self.config = parser.parse_object({"subcommand": subcommand, subcommand: config})
        config = self.config[subcommand]
        refuse_wrong_types(run, config)
        for part in ("model", "data"):
            refuse_wrong_types_of_class(class_at(config[part].class_path), config[part], part)
        check_trainer(config.trainer, config.seed_everything)
        check_limit(config.trainer, subcommand)

    @staticmethod
    def _find_checkpoint(parser: RunParser, user: Values, subcommand: str) -> str | None:
        """Return the checkpoint that a file names or that ``--resume=auto`` finds; None without one."""
        named = user["ckpt_path"].value if "ckpt_path" in user else None
        return find_resumable(parser, user) if named is None and subcommand == "fit" else named

    def _merge_checkpoint(self, saved: Saved | None, user: Values, subcommand: str) -> Values:
        """Return the user's values merged with those of the checkpoint to resume, evaluate or start from."""
        if saved is not None:
            self.model_folder = saved.path if saved.path.is_dir() else None
            self.unnamed_models = saved.unnamed_models(user)
            return saved.merge_under(user, subcommand)
        if INIT_FROM in user and user[INIT_FROM].value is not None:
            return with_backbone(user, self.allowed)
        if subcommand != "fit":
            raise InputError("no checkpoint to evaluate. Give a checkpoint or the folder of a run with --ckpt_path")
        return user

    def instantiate_classes(self) -> None:
        """Build model, data and Trainer, after checking that the model can read the data."""
        config = self.config[self.config.subcommand]
        refuse_mismatch(*(class_at(config[part].class_path) for part in ("model", "data")))
        # Loggers are built by instantiate_trainer, because they write to the folder of the run.
        self._loggers, config.trainer.logger = config.trainer.logger, False
        try:
            with status("Reading the data and building the model"), no_download_of(self.unnamed_models):
                super().instantiate_classes()
        finally:
            config.trainer.logger = self._loggers
        self.model.backbone.checkpoint_activations(config.activation_checkpointing)
        if self.model_folder is not None:
            huggingface.load_weights(self.model, huggingface.read_config(self.model_folder))

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning's method lets checkpoints win over flags, and ``parse_arguments`` has merged both."""

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Return the Trainer with the callbacks of this project, settings for the device, and a logger."""
        config = self.config[self.config.subcommand]
        kwargs |= self._for_device(config)
        with building(config.trainer):
            kwargs |= self._for_run(config)
        trainer = self.config_init[self.config_init.subcommand].trainer
        configured = [trainer.callbacks] if isinstance(trainer.callbacks, L.Callback) else trainer.callbacks or []
        has_progress = any(isinstance(each, ProgressBar) for each in configured)
        progress = [] if has_progress or trainer.enable_progress_bar is False else [progress_display()]
        ours = [
            training.RandomnessByPosition(),
            training.StepAxis(),
            training.Monitors(),
            training.Validations(),
            training.Throughput(),
            training.Reports(),
            *(diagnostics() if config.diagnostics else []),
            *progress,
            *self._evaluation(config),
            training.Summary(),
            *self._report(config, kwargs.get("default_root_dir")),
            self.interruption,
        ]
        trainer.callbacks = [*configured, *ours]
        if not has_progress:
            kwargs["enable_progress_bar"] = False  # Lightning's own bar
        with building(config.trainer):
            built = super().instantiate_trainer(**kwargs)
        check_processes(built)
        return built

    def _evaluation(self, config: Namespace) -> list[L.Callback]:
        """Return the callbacks that print and write the results of ``validate`` and ``test``."""
        if self.config.subcommand != "test":
            return [training.Evaluation(self.model_folder)]
        verdict = training.Verdict(config.verdict, config.calibrate, config.learning_curve, config.must_beat)
        return [verdict, training.Evaluation(self.model_folder, verdict)]

    def _report(self, config: Namespace, run: Path | None) -> list[L.Callback]:
        """Return the callbacks that write the report of the run, unless it is turned off."""
        if not config.report or self.config.subcommand not in ("fit", "test"):
            return []
        if self.config.subcommand == "test":
            return [training.RunReport()]
        parser = self._subcommand_parsers[self.config.subcommand]
        assert isinstance(parser, RunParser)
        changed = changed_settings(parser, config, self._loggers)
        commands = commands_to_repeat(self.arguments, self.given, run, self.allowed)
        return [training.RunHistory(), training.RunReport(changed, commands)]

    def _for_run(self, config: Namespace) -> dict[str, Any]:
        """Return the loggers and, for ``fit``, the folder of the run, which is locked until the command ends.

        A development run (``fast_dev_run``) has neither. Other subcommands have only the loggers that the user names.
        """
        trainer = config.trainer
        if trainer.fast_dev_run or (self.config.subcommand != "fit" and self._loggers in (None, True)):
            return {"logger": False}
        if self.config.subcommand != "fit":
            return {"logger": build_loggers(self._loggers)}
        if trainer.default_root_dir is not None and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            print(
                f"ignored trainer.default_root_dir={trainer.default_root_dir}. Choose the folder of the run with "
                "--log_dir, --experiment and --name",
                flush=True,
            )
        run = self._run.enter_context(own_folder(config))
        return {"logger": loggers_of_run(self._loggers, run, config.log_dir), "default_root_dir": run}

    def _for_device(self, config: Namespace) -> dict[str, Any]:
        """Return settings of the Trainer for the device, and compile the model if it pays or is asked for.

        Options that the user gives are kept.
        """
        trainer, strategy = config.trainer, config.trainer.strategy
        device = find_device(trainer.accelerator)
        if device.capability is None:
            keep_freed_memory()
        is_simple = isinstance(strategy, str) and strategy.startswith(("auto", "ddp"))
        choice = choose(
            device,
            has_precision=trainer.precision is not None or bool(trainer.plugins),  # a plugin may set the precision
            compiles=config.compile,
            pays=is_simple and self.config.subcommand == "fit",
        )
        if choice.message and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            print(choice.message, flush=True)
        if choice.compile:
            self.model.backbone.compile()  # in place, so the names of the weights stay the same
            if isinstance(self.model.head, LMHead):
                self.model.head.compile()
        return {} if choice.precision is None else {"precision": choice.precision}

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[L.Callback]) -> L.Trainer:
        """Build the Trainer, without the checkpoint callback if checkpoints are disabled."""
        if config["enable_checkpointing"] is False:
            callbacks = [callback for callback in callbacks if not isinstance(callback, training.Checkpoints)]
        trainer = super()._instantiate_trainer(config, callbacks)
        # super() has added the callbacks to the config
        return RunTrainer(**{**config, "strategy": "auto"}) if needs_no_strategy(trainer) else trainer

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Return the arguments of the Trainer's method; checkpoints are always loaded without pickle."""
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand == "predict":
            kwargs["return_predictions"] = False
        if subcommand in ("validate", "test"):
            kwargs["verbose"] = False  # the Evaluation callback prints the metrics
        if self.model_folder is not None:
            kwargs["ckpt_path"] = None  # instantiate_classes has loaded the weights
        return kwargs | {"weights_only": True}

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            with (
                self.interruption.handling(),
                reported_full_disk(self.trainer),
                restoring(self.config[subcommand].ckpt_path),
                connect_ranks(self.trainer, subcommand),
            ):
                super()._run_subcommand(subcommand)
        except Interrupted as interruption:
            if subcommand == "fit" and self.trainer.is_global_zero:
                message = how_to_resume(self.trainer, interruption, self.arguments, self.given)
                print(printable(message), file=sys.stderr, flush=True)
            raise

    def after_validate(self) -> None:
        """Refuse a run that validated no batch."""
        check_batches(self.trainer.num_val_batches, self.config.subcommand)

    def after_test(self) -> None:
        """Refuse a run that tested no batch, and a model that does not beat the baseline of ``--must_beat``."""
        check_batches(self.trainer.num_test_batches, self.config.subcommand)
        if self.trainer.is_global_zero:
            for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, training.Verdict):
                    callback.check()

    def after_predict(self) -> None:
        """Refuse a run that predicted no batch."""
        check_batches(self.trainer.num_predict_batches, self.config.subcommand)

    def after_fit(self) -> None:
        """Refuse a run that took no step."""
        if self.trainer.is_global_zero:
            check_steps(self.trainer, self.model, self.config[self.config.subcommand].resume == "auto")


def diagnostics() -> list[L.Callback]:
    """Return the callbacks of ``--diagnostics``."""
    return [
        training.LayerDiagnostics(),
        training.LossDiagnostics(),
        training.ProbabilityDiagnostics(),
        training.HParams(),
    ]


def main(arguments: list[str]) -> int:
    """Run one of the Trainer's subcommands."""
    hide_messages()
    with contextlib.ExitStack() as stack:
        is_predict = arguments[0] == "predict"
        options, given = read_predict_shorthand(arguments, stack) if is_predict else (arguments, {})
        with naming_shorthand(given):
            cli = CLI(options, given)
        if arguments[0] == "fit" and cli.trainer.is_global_zero and (steps := next_steps(cli.trainer, cli.allowed)):
            print(printable(steps), flush=True)
    return 0
