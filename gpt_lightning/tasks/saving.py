"""Content of a task's checkpoint: hyper-parameters as plain values, class paths, the tokenizer, trained weights.

Checkpoints are read without pickle, so hyper-parameters are numbers, strings, lists and dicts. Lightning collects
them from the arguments of the constructors.
"""

import inspect
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, Final, get_type_hints

from jsonargparse import ArgumentParser
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.parsing import collect_init_args
from torch import nn

from gpt_lightning.models import GPTConfig
from gpt_lightning.models.lora import check_base
from gpt_lightning.tasks.plain_values import to_plain
from gpt_lightning.tokenizers.tokenizer import Tokenizer

WEIGHTS: Final = {"state_dict", "current_model_state"}
"""Fields of a checkpoint with weights. With averaged weights, the second one holds those of the last step."""


def class_path(cls: type) -> str:
    """Return the shortest dotted path of a class, by which checkpoints name it.

    The shortest path, such as ``gpt_lightning.CausalLM``, remains valid when the defining file is renamed. A class of
    the running script is named after the script's file, because ``__main__`` is another module in the next run.
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
        task: task under construction.
        frame: stack frame of the base class's constructor.

    Raises:
        TypeError: a subclass did not call ``super().__init__(...)``, so its arguments are unknown.
    """
    # ``classes`` excludes the constructors of other modules that build this task inside themselves.
    collected = collect_init_args(frame, [], classes=(type(task),))
    arguments = {name: value for each in collected for name, value in each.items()}
    if missing := declared_arguments(type(task)) - set(arguments):
        raise TypeError(
            f"{type(task).__name__}: checkpoints would not contain the arguments {', '.join(sorted(missing))}. "
            "Call the constructor of the base class as super().__init__(**settings)"
        )
    return arguments


def declared_arguments(task_class: type) -> set[str]:
    """Return the names of the arguments that a class's own constructor declares, without ``**kwargs``."""
    parameters = list(inspect.signature(vars(task_class).get("__init__", object.__init__)).parameters.values())
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {parameter.name for parameter in parameters[1:] if parameter.kind not in variable}


def accepted_arguments(task_class: type) -> set[str]:
    """Return the names of all arguments that a class's constructor accepts, including those of its base classes.

    jsonargparse resolves ``super().__init__(**settings)``, so these are the names of the command-line options.
    """
    return set(vars(arguments_of(task_class).get_defaults(skip_validation=True)))


@lru_cache(maxsize=64)
def arguments_of(owner: type, key: str | None = None) -> ArgumentParser:
    """Return a parser of all arguments that a class's constructor accepts, nested under ``key`` if it is given.

    Later calls return the same parser, which callers must not change.
    """
    parser = ArgumentParser()
    parser.add_class_arguments(owner, key, fail_untyped=False, sub_configs=True)
    return parser


def argument_types(task_class: type) -> dict[str, Any]:
    """Return the types of the arguments of a class and its base classes; ``Any`` for those without annotation."""
    types: dict[str, Any] = {}
    for each in reversed(task_class.__mro__):
        if "__init__" in vars(each) and each.__module__.partition(".")[0] not in ("builtins", "torch", "lightning"):
            hints = get_type_hints(vars(each)["__init__"])
            types |= {name: hints.get(name, Any) for name in declared_arguments(each)}
    return types


def plain_hparams(
    task_class: type, arguments: Mapping[str, Any], backbone: GPTConfig, *, has_frozen: bool
) -> dict[str, Any]:
    """Return the hyper-parameters of a task as plain values, with the path of its class under ``task``.

    Args:
        task_class: class of the task.
        arguments: arguments of its constructors, from ``constructor_arguments``.
        backbone: configuration of the backbone with ``vocab_size`` filled in, which replaces the argument of that name.
        has_frozen: if True, checkpoints leave out frozen weights, so ``init_from`` is needed to load them.

    Raises:
        TypeError: an argument has a type that a checkpoint cannot hold.
    """
    left_out = {"vocab_size"} if has_frozen else {"vocab_size", "init_from"}
    plain = {
        name: to_plain(value, f"{task_class.__name__}({name}=...)")
        for name, value in {**arguments, "backbone": backbone}.items()
        if name not in left_out
    }
    return {"task": class_path(task_class), **plain}


def describe_data(datamodule: object) -> dict[str, str]:
    """Return the checkpoint's entries about the data: class and tokenizer of the data module.

    They are missing if the data module has no ``Tokenizer`` of this package.
    """
    tokenizer = getattr(datamodule, "tokenizer", None)
    if not isinstance(tokenizer, Tokenizer):
        return {}
    return {"data": class_path(type(datamodule)), "tokenizer": tokenizer.to_json()}


def leave_out_frozen(checkpoint: dict[str, Any], task: nn.Module, frozen_sha256: Mapping[str, str]) -> None:
    """Remove frozen weights from a checkpoint, as ``init_from`` provides them, and add their digests."""
    if frozen_sha256:
        frozen = _frozen_parameters(task)
        for field in WEIGHTS & checkpoint.keys():
            state = checkpoint[field].items()
            checkpoint[field] = {name: value for name, value in state if name not in frozen}
        checkpoint["frozen_sha256"] = dict(frozen_sha256)


def fill_in_frozen(
    checkpoint: dict[str, Any], task: nn.Module, frozen_sha256: Mapping[str, str], init_from: str | None
) -> None:
    """Put the frozen weights that ``leave_out_frozen`` removed back into a checkpoint.

    Raises:
        InputError: the adapters in the checkpoint were trained on other weights.
    """
    if frozen_sha256:
        check_base(checkpoint.get("frozen_sha256"), frozen_sha256, init_from, "--model.init_from")
        for field in WEIGHTS & checkpoint.keys():
            checkpoint[field] = {**checkpoint[field], **_frozen_parameters(task)}


def _frozen_parameters(task: nn.Module) -> dict[str, nn.Parameter]:
    """Return the frozen parameters, by name."""
    state = task.state_dict(keep_vars=True).items()
    return {name: value for name, value in state if isinstance(value, nn.Parameter) and not value.requires_grad}
