"""Hyper-parameters of a task as plain values, with the path of its class.

A checkpoint is read without pickle, so hyper-parameters are numbers, strings, lists and dicts. They come from the
signatures of the constructors, through Lightning's own collection of arguments.
"""

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, get_type_hints

from jsonargparse import ArgumentParser
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.parsing import collect_init_args
from torch import nn

from gpt_lightning.models import GPTConfig
from gpt_lightning.models.lora import check_base
from gpt_lightning.tasks.plain_values import to_plain
from gpt_lightning.tokenizers.tokenizer import Tokenizer


def class_path(cls: type) -> str:
    """Return the dotted name by which a checkpoint names a class: the shortest that leads to it.

    ``gpt_lightning.CausalLM`` stays true when the file that defines the class is renamed. A class of the program
    that runs is named after its file: ``__main__`` is another module tomorrow.
    """
    module = cls.__module__
    if module == "__main__":
        main = sys.modules[module]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        module = spec.name if spec is not None else Path(file).stem if file else module
    parts = module.split(".")
    packages = (".".join(parts[:length]) for length in range(1, len(parts)))
    exported = (each for each in packages if getattr(sys.modules.get(each), cls.__qualname__, None) is cls)
    return f"{next(exported, module)}.{cls.__qualname__}"


def constructor_arguments(task: LightningModule, frame: FrameType) -> dict[str, Any]:
    """Return the arguments of a task's constructors, by name.

    Args:
        task: the task.
        frame: of the base class's constructor.

    Raises:
        TypeError: a constructor was not reached through ``super().__init__(...)``, so its arguments are unknown.
    """
    # Constructors of other modules, inside of which the task is built, are not instances of its class.
    collected = collect_init_args(frame, [], classes=(type(task),))
    arguments = {name: value for each in collected for name, value in each.items()}
    if missing := own_arguments(type(task)) - set(arguments):
        raise TypeError(
            f"{type(task).__name__}: the arguments {', '.join(sorted(missing))} would be in no checkpoint. "
            "Call the base class's constructor by super().__init__(**settings)"
        )
    return arguments


def own_arguments(task_class: type) -> set[str]:
    """Return the names of the arguments that a class's constructor declares itself."""
    parameters = list(inspect.signature(vars(task_class).get("__init__", object.__init__)).parameters.values())
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {parameter.name for parameter in parameters[1:] if parameter.kind not in variable}


def accepted_arguments(task_class: type) -> set[str]:
    """Return the names of the arguments that a class's constructor takes, also those that it relays to its base.

    jsonargparse follows ``super().__init__(**settings)``, so the names are those of the command line.
    """
    return set(vars(arguments_of(task_class).get_defaults(skip_validation=True)))


def arguments_of(owner: type, key: str | None = None) -> ArgumentParser:
    """Return a parser of the arguments that a class's constructor takes, below ``key`` if there is one."""
    parser = ArgumentParser()
    parser.add_class_arguments(owner, key, fail_untyped=False, sub_configs=True)
    return parser


def argument_types(task_class: type) -> dict[str, Any]:
    """Return the types of all arguments that the constructors of a class and of its bases declare, else ``Any``."""
    types: dict[str, Any] = {}
    for each in reversed(task_class.__mro__):
        if "__init__" in vars(each) and each.__module__.partition(".")[0] not in ("builtins", "torch", "lightning"):
            hints = get_type_hints(vars(each)["__init__"])
            types |= {name: hints.get(name, Any) for name in own_arguments(each)}
    return types


def plain_hparams(
    task_class: type, arguments: Mapping[str, Any], backbone: GPTConfig, *, has_frozen: bool
) -> dict[str, Any]:
    """Return the hyper-parameters of a task as numbers, strings, lists and dicts, with the path of its class.

    Args:
        task_class: the class.
        arguments: what its constructors were given, from ``constructor_arguments``.
        backbone: the configuration with the number of ids filled in, so that ``vocab_size`` is not needed.
        has_frozen: whether checkpoints leave frozen weights to ``init_from``; otherwise it does not matter any more.

    Raises:
        TypeError: an argument is of a type that a checkpoint cannot hold.
    """
    left_out = {"vocab_size"} if has_frozen else {"vocab_size", "init_from"}
    plain = {
        name: to_plain(value, f"{task_class.__name__}({name}=...)")
        for name, value in {**arguments, "backbone": backbone}.items()
        if name not in left_out
    }
    return {"task": class_path(task_class), **plain}


def describe_data(datamodule: object) -> dict[str, str]:
    """Return what a checkpoint says of the data: the module's class and its tokenizer, where it has one of ours."""
    tokenizer = getattr(datamodule, "tokenizer", None)
    if not isinstance(tokenizer, Tokenizer):
        return {}
    return {"data": class_path(type(datamodule)), "tokenizer": tokenizer.to_json()}


def leave_out_frozen(checkpoint: dict[str, Any], task: nn.Module, frozen_sha256: Mapping[str, str]) -> None:
    """Leave the weights that adapters do not change to ``init_from``, and note their digests."""
    if frozen_sha256:
        frozen = _frozen(task)
        state = checkpoint["state_dict"].items()
        checkpoint["state_dict"] = {name: value for name, value in state if name not in frozen}
        checkpoint["frozen_sha256"] = dict(frozen_sha256)


def fill_in_frozen(
    checkpoint: dict[str, Any], task: nn.Module, frozen_sha256: Mapping[str, str], init_from: str | None
) -> None:
    """Put the weights that ``leave_out_frozen`` left out back into a checkpoint.

    Raises:
        InputError: the adapters in it were trained on other weights.
    """
    if frozen_sha256:
        check_base(checkpoint.get("frozen_sha256"), frozen_sha256, init_from, "--model.init_from")
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **_frozen(task)}


def _frozen(task: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are not trained, by name."""
    state = task.state_dict(keep_vars=True).items()
    return {name: value for name, value in state if isinstance(value, nn.Parameter) and not value.requires_grad}
