"""Classes of a run's task and data module: which are compatible, and the arguments that they take from each other."""

import importlib
from dataclasses import asdict, is_dataclass
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from gpt_lightning.commands.run.value_layers import Values, flag_key
from gpt_lightning.data.find import data_modules_for, goes_with
from gpt_lightning.errors import InputError
from gpt_lightning.tasks.saving import accepted_arguments


def class_at(path: str) -> type[Any]:
    """Return the class of a class path that the parser has accepted."""
    module, _, name = path.rpartition(".")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


def refuse_mismatch(task: type[Any], module: type[Any]) -> None:
    """Refuse a data module whose batches the task cannot read.

    Raises:
        InputError: task and data module are not compatible.
    """
    if not goes_with(task, module):
        names = " or ".join(each.__name__ for each in data_modules_for(task))
        remedy = f". {task.__name__} needs --data={names}" if names else ""
        raise InputError(f"model {task.__name__} and data {module.__name__} cannot be combined{remedy}")


def link(parser: LightningArgumentParser, task: type[Any], module: type[Any]) -> None:
    """Link the arguments that task and data module take from each other, as their classes declare.

    Classes that declare nothing get no link; a link whose source or target is missing has no effect.
    """
    for argument, attribute in getattr(task, "takes_from_data", {}).items():
        parser.link_arguments(f"data.{attribute}", f"model.init_args.{argument}", _as_values, apply_on="instantiate")
    for argument, source in getattr(module, "takes_from_model", {}).items():
        parser.link_arguments(f"model.init_args.{source}", f"data.init_args.{argument}")


def refuse_linked(user: Values, task: type[Any], module: type[Any]) -> None:
    """Refuse values for arguments that task and data module take from each other, since the links would replace them.

    Raises:
        InputError: the user gives such a value.
    """
    for argument, attribute in getattr(task, "takes_from_data", {}).items():
        target = f"model.init_args.{argument}"
        for key in _given(user, target):
            if hasattr(module, attribute):
                instead = f"data.{attribute}{key.removeprefix(target)}"
                remedy = f"Set {instead} instead" if attribute in accepted_arguments(module) else "Leave it out"
                raise InputError(f"{flag_key(key)} cannot be set, because it comes from the data module. {remedy}")
    for argument, source in getattr(module, "takes_from_model", {}).items():
        for key in _given(user, f"data.init_args.{argument}"):
            if source.partition(".")[0] in accepted_arguments(task):
                raise InputError(
                    f"{flag_key(key)} cannot be set, because it comes from the model. Set model.{source} instead"
                )


def _given(user: Values, target: str) -> list[str]:
    """Return the keys of an argument, or of the fields of a group, to which the user gives a value."""
    return [
        key
        for key, given in user.items()
        if given.value is not None and (key == target or key.startswith(f"{target}."))
    ]


def _as_values(value: Any) -> Any:
    """Return a dataclass as a dict, from which jsonargparse builds the argument, and any other value as it is."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
