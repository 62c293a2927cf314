"""Values of a checkpoint, merged with the user's to resume a run or to evaluate it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from gpt_lightning.checkpoints.read import find_base
from gpt_lightning.checkpoints.run_config import has_given_labels, remembered_settings, training_sources
from gpt_lightning.checkpoints.run_folder import is_without_checkpointing, newest_intact_checkpoint, newest_run
from gpt_lightning.commands.run.classes import class_at
from gpt_lightning.commands.run.folder import experiment_folder
from gpt_lightning.commands.run.parser import RunParser, defaults_of
from gpt_lightning.commands.run.saved_tokenizer import is_built, refuse_other_tokenizer, tokenizer_file, tokenizer_in
from gpt_lightning.commands.run.value_layers import Origin, Value, Values, flag_key, flatten, merge, overlay
from gpt_lightning.data.find import default_data_module, named_data_module
from gpt_lightning.data.labels import SavedLabels, canonical, read_labels
from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.downloads import no_download_of
from gpt_lightning.errors import InputError
from gpt_lightning.models.config import PER_TASK
from gpt_lightning.models.lora import LoRA
from gpt_lightning.named_classes import is_ours
from gpt_lightning.printable import printable
from gpt_lightning.tasks.load import find_checkpoint, read_checkpoint
from gpt_lightning.tasks.saving import accepted_arguments, class_path
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from gpt_lightning.training.run_settings import DIFFERS

MODEL = "model.init_args"
BACKBONE = f"{MODEL}.backbone"
INIT_FROM = f"{MODEL}.init_from"
LABELS = "data.init_args.labels"
MODEL_LABELS = "data.init_args.model_labels"
TOKENIZER = "data.init_args.tokenizer"

MAY_CHANGE = {f"{BACKBONE}.{name}" for name in PER_TASK} - {f"{BACKBONE}.attention"} | {f"{MODEL}.lora.dropout"}
"""Arguments of the backbone and of its adapters that may change when a run is resumed."""


class Saved(NamedTuple):
    """Checkpoint as a layer of values."""

    path: Path
    classes: Values
    """Class path of the model, and that of the data if it is known."""
    arguments: Values
    """Arguments of the model."""
    data_arguments: Values
    """Arguments of the data module that shaped the model, such as ``labels``; they cannot change."""
    remembered: Values
    """Settings by which the training rows were read, for the same data module; for ``test``, also their local files."""
    has_init_from: bool
    """True if the model has an argument ``init_from``."""
    init_from: str | None
    """Pretrained weights that the adapters were trained on; None without adapters."""
    tokenizer: Tokenizer | None
    data_not_allowed: str | None
    """Class path of the data module if it is a class of the user's own that may not be imported."""

    @classmethod
    def read(cls, parser: RunParser, ckpt_path: str, subcommand: str, allowed: Sequence[str]) -> "Saved":
        """Read a checkpoint for a subcommand.

        Args:
            parser: the parser of the subcommand.
            ckpt_path: a checkpoint, a run folder or a model folder.
            subcommand: ``fit`` resumes from the last checkpoint of a run, the others evaluate the best one.
            allowed: packages of the user's own that the checkpoint may name classes from.

        Raises:
            InputError: the checkpoint is damaged, or is a pretrained model that cannot be resumed or evaluated.
        """
        path = find_checkpoint(ckpt_path, "last" if subcommand == "fit" else "best")
        checkpoint = read_checkpoint(path, allowed)
        hparams = {"lora": asdict(LoRA()), **checkpoint["hyper_parameters"]}
        if path.is_dir() and (subcommand == "fit" or "task" not in hparams):
            raise InputError(
                f"{path} is a model folder, not a run that can be resumed or tested. "
                f"Start a run from it with --model.init_from={path}"
            )
        task, init_from = (hparams.pop(name, None) for name in ("task", "init_from"))
        origin = Origin("checkpoint", str(path))
        accepted = accepted_arguments(class_at(task))
        links = class_at(task).takes_from_data.items()
        linked = [(f"data.init_args.{name}", hparams.pop(key)) for key, name in links if key in hparams]
        data_arguments = {
            name: Value(value, origin) for key, group in linked for name, value in _values_of(key, group).items()
        }
        given = {name: value for name, value in hparams.items() if name in accepted}
        model = parser.parse_values({"model": {"class_path": task, "init_args": given}})
        arguments = flatten(model, origin)
        classes = {"model.class_path": arguments.pop("model.class_path")}
        module = _data_module(checkpoint, class_at(model.model.class_path), allowed)
        remembered: Values = {}
        if module is not None:
            classes |= flatten(parser.parse_values({"data": {"class_path": module}}), origin)
            data = class_at(classes["data.class_path"].value)
            own = accepted_arguments(data) - getattr(data, "takes_from_model", {}).keys()
            # A test reads the training rows, too: it compares the model with baselines.
            # Without the identity of its rows, the model may have been trained on other rows than these files hold now.
            has_identity = bool(checkpoint.get("identity", {}).get("data.train"))
            sources = training_sources(path) if subcommand == "test" and has_identity else {}
            settings = {**remembered_settings(path, data), **sources}
            remembered = {
                f"data.init_args.{name}": Value(value, origin) for name, value in settings.items() if name in own
            }
        named = str(checkpoint.get("data", ""))
        data_not_allowed = named if module is None and not is_ours(named) else None
        has_init_from = "init_from" in accepted
        tokenizer = tokenizer_in(path, checkpoint)
        return cls(
            path,
            classes,
            arguments,
            data_arguments,
            remembered,
            has_init_from,
            init_from,
            tokenizer,
            data_not_allowed,
        )

    def remembered_values(self, user: Values, is_named: bool) -> Values:
        """Return the settings by which the training rows were read, unless the user chooses another data module.

        Args:
            user: the user's values, which win.
            is_named: whether the user names the data module. Then settings that are not its defaults are printed.
        """
        data = "data.class_path"
        if data not in self.classes or class_at(user[data].value) is not class_at(self.classes[data].value):
            return {}
        defaults = class_defaults(user)
        for key, value in self.remembered.items():
            if is_named and key not in user and key in defaults and value.value != defaults[key].value:
                print(printable(f"from the run: {flag_key(key)}={value.value}"))
        return self.remembered

    def check_data(self, is_named: bool) -> None:
        """Refuse a checkpoint whose data module may not be imported, unless the user names another.

        Args:
            is_named: whether files or flags may name the data module.

        Raises:
            InputError: the data module is not allowed, and no other is named.
        """
        if self.data_not_allowed is not None and not is_named:
            raise InputError(
                f"{self.path}: its data module is {self.data_not_allowed}, which is not part of gpt-lightning. If you "
                f"trust its code, add --allow_import {self.data_not_allowed.partition('.')[0]}, or give another --data"
            )

    def merge_under(self, user: Values, subcommand: str) -> Values:
        """Merge the checkpoint under the user's values, and print the differences.

        Raises:
            InputError: the user gives another task, shape or tokenizer, or other labels.
        """
        self._refuse_other_task(user)
        if (vocab_size := user.get(f"{BACKBONE}.vocab_size")) is not None and vocab_size.value is None:
            user = user.copy()  # The config.yaml of a run has null if the size came from the tokenizer.
            del user[f"{BACKBONE}.vocab_size"]
        defaults = class_defaults(user)
        user = self._without_unfitted(user, defaults)
        values, differences = merge(defaults, self.arguments, user, _is_fixed)
        if subcommand == "fit":
            differences = [f"{line}{DIFFERS}" if line.startswith("changed: ") else line for line in differences]
        if subcommand == "fit" or any(key.startswith(f"{MODEL}.") for key in user):
            print(printable("".join(f"{line}\n" for line in differences)), end="")
        return overlay(values, self._fixed_values(user, defaults))

    def _without_unfitted(self, user: Values, defaults: Values) -> Values:
        """Return the user's values without defaults in files of arguments that ``fit`` computes.

        The ``config.yaml`` of a run is written before they are known.
        """
        task = class_at(self.classes["model.class_path"].value)
        fitted = {f"{MODEL}.{name}" for name in task.fitted_arguments}
        return {
            key: given
            for key, given in user.items()
            if key not in fitted or given.origin.kind == "flag" or given.value != defaults[key].value
        }

    def unnamed_models(self, user: Values) -> list[str]:
        """Return the base model of the adapters, unless a file or a flag of the user names it too."""
        given = user[INIT_FROM].value if INIT_FROM in user else None
        return [] if self.init_from in (None, given) else [self.init_from]

    def _refuse_other_task(self, user: Values) -> None:
        own, wanted = (class_at(values["model.class_path"].value) for values in (self.classes, user))
        if wanted is not own:
            task = own.__name__
            raise InputError(
                f"{self.path} holds a {task}, but the configuration is for a {wanted.__name__}. "
                f"Give a configuration for a {task}, or a checkpoint of a {wanted.__name__}"
            )

    def _fixed_values(self, user: Values, defaults: Values) -> Values:
        """Return the values that files and flags cannot change."""
        origin = Origin("checkpoint", str(self.path))
        fixed: dict[str, Any] = {"ckpt_path": str(self.path)}
        if self.has_init_from:
            fixed[INIT_FROM] = self._base(user.get(INIT_FROM))
        for key, saved in self.data_arguments.items():
            given = user[key].value if key in user else None
            if key == LABELS and MODEL_LABELS in defaults:
                fixed |= self._fixed_labels(given, saved.value)
                continue
            wanted = list(read_labels(given)) if key == LABELS and given is not None else given
            if wanted not in (None, saved.value):
                raise InputError(
                    f"--{flag_key(key)} is {given}, but {self.path} was trained with {saved.value}. "
                    "Leave the option out"
                )
            if key in defaults:
                fixed[key] = saved.value
        if self.tokenizer is not None and TOKENIZER in defaults:
            wanted = user[TOKENIZER].value if TOKENIZER in user else None
            if wanted is None or is_built(wanted):
                fixed[TOKENIZER] = tokenizer_file(self.path, self.tokenizer, overlay(defaults, user))
            else:
                refuse_other_tokenizer(wanted, self.tokenizer, self.path)
        return {key: Value(value, origin) for key, value in fixed.items()}

    def _fixed_labels(self, given: Any, saved: list[str]) -> dict[str, Any]:
        """Return the labels of the model, with their order as the meaning of numbers if the user has given it.

        Raises:
            InputError: the user gives labels that the model does not have.
        """
        if given is not None and {*map(canonical, read_labels(given))} != {*map(canonical, saved)}:
            raise InputError(
                f"--{flag_key(LABELS)} is {short_repr(given)}, but {self.path} was trained with {short_repr(saved)}. "
                "Leave the option out"
            )
        return {MODEL_LABELS: SavedLabels(saved, has_given_labels(self.path)).to_json()}

    def _base(self, given: Value | None) -> str | None:
        """Return the checkpoint or folder of the weights that the adapters were trained on; None without adapters.

        Raises:
            InputError: the weights are not found.
        """
        if self.init_from is None:
            return None  # The checkpoint holds all weights.
        configured = None if given is None else given.value
        is_flag = given is not None and given.origin.kind == "flag" and configured is not None
        base = configured if is_flag else self.init_from
        if configured not in (None, base):
            print(printable(f"from the checkpoint: model.init_from={base} (the configuration has {configured})"))
        elif base != self.init_from:
            print(printable(f"changed: model.init_from={base} (the checkpoint has {self.init_from})"))
        with no_download_of([] if base == configured else [self.init_from]):
            return find_base(self.path, base, "give LOCATION with --model.init_from (evaluate: --init_from)")


def find_resumable(parser: RunParser, user: Values) -> str | None:
    """Return the newest undamaged checkpoint of the named or newest run if the user sets ``--resume=auto``.

    A run that was killed before its first checkpoint starts again. A named one does so in its folder, because the same
    steps follow again and only the metrics of its first steps are logged twice.

    Raises:
        InputError: the named run disabled checkpoints. Another run in its folder would mix its metrics with new ones.
    """
    resume, log_dir, experiment, name = (
        user[key].value if key in user else parser.get_default(key)
        for key in ("resume", "log_dir", "experiment", "name")
    )
    if resume != "auto":
        return None
    run = newest_run(experiment_folder(log_dir, experiment), name)
    if run is None:
        return None
    checkpoint = newest_intact_checkpoint(run)
    if checkpoint is None and name is not None and is_without_checkpointing(run):
        raise InputError(
            f"--resume=auto: {run} holds a run without checkpoints (trainer.enable_checkpointing=false), so it cannot "
            f"be resumed. Choose another --name, or delete {run} to start again"
        )
    if checkpoint is not None:
        print(f"resumed from {checkpoint}")
        return str(checkpoint)
    folder = "a new folder" if name is None else "its folder"
    print(f"{run} has no checkpoint (it ended before the first, or they were deleted): starting again in {folder}")
    return None


def _values_of(key: str, value: Any) -> dict[str, Any]:
    """Return the value of a key or, for a group such as the fields of a dataclass, of each key in it."""
    return {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}


def _is_fixed(key: str) -> bool:
    """Return whether the weights of a checkpoint depend on the value of a key."""
    return key.startswith((f"{BACKBONE}.", f"{MODEL}.lora.")) and key not in MAY_CHANGE


def class_defaults(user: Values) -> Values:
    """Return the defaults of the arguments of model and data module."""
    defaults: Values = {}
    for part in ("model", "data"):
        if (class_path := user.get(f"{part}.class_path")) is not None:
            values = flatten(defaults_of(class_at(class_path.value)), Origin("default", class_path.value))
            defaults |= {f"{part}.init_args.{key}": value for key, value in values.items()}
    return defaults


def _data_module(checkpoint: dict[str, Any], task: type[Any], allowed: Sequence[str]) -> str | None:
    """Return the class path of a checkpoint's data module if it is in this package or allowed; else None.

    A model folder names no data module, so the default one of the task is taken.
    """
    if "data" not in checkpoint:
        module = default_data_module(task)
        return None if module is None else module.__name__
    found = named_data_module(str(checkpoint["data"]), allowed)
    return None if found is None else class_path(found)
