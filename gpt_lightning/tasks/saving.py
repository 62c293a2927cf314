"""What a checkpoint says of its task: the class and its constructor's arguments, as plain values.

A checkpoint is read without pickle, so hyper-parameters are numbers, strings, lists and dicts. They come from the
signatures of the constructors, through Lightning's own collection of arguments.
"""

import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any, get_type_hints

from jsonargparse import ArgumentParser
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.parsing import collect_init_args
from torch import nn

from gpt_lightning.models import GPTConfig
from gpt_lightning.models.lora import check_base
from gpt_lightning.tokenizers.tokenizer import Tokenizer


def class_path(cls: type) -> str:
    """Return the dotted name by which a checkpoint names a class: the shortest that leads to it.

    ``gpt_lightning.CausalLM`` stays true when the file that defines the class is renamed. A class of the program
    that runs is named after its file: ``__main__`` is another module tomorrow.
    """
    module = cls.__module__
    if module == "__main__" and (file := getattr(sys.modules[module], "__file__", None)):
        module = Path(file).stem
    parts = module.split(".")
    packages = (".".join(parts[:length]) for length in range(1, len(parts)))
    exported = (each for each in packages if getattr(sys.modules.get(each), cls.__qualname__, None) is cls)
    return f"{next(exported, module)}.{cls.__qualname__}"


def constructor_arguments(frame: FrameType) -> dict[str, Any]:
    """Return the arguments of the constructors that lead to ``frame``, the base class's, by name."""
    collected = collect_init_args(frame, [], classes=(LightningModule,))
    return {name: value for arguments in collected for name, value in arguments.items()}


def accepted_arguments(task_class: type) -> set[str]:
    """Return the names of the arguments that a class's constructor takes, also those that it relays to its base.

    jsonargparse follows ``super().__init__(**settings)``, so the names are those of the command line.
    """
    parser = ArgumentParser()
    parser.add_class_arguments(task_class, fail_untyped=False, sub_configs=True)
    return set(vars(parser.get_defaults(skip_validation=True)))


def argument_types(task_class: type) -> dict[str, Any]:
    """Return the types of all arguments that the constructors of a class and of its bases declare."""
    types: dict[str, Any] = {}
    for each in reversed(task_class.__mro__):
        if "__init__" in vars(each) and each.__module__.partition(".")[0] not in ("builtins", "torch", "lightning"):
            types |= get_type_hints(vars(each)["__init__"])
    return {name: kind for name, kind in types.items() if name not in ("return", "settings")}


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
        name: _plain(value, f"{task_class.__name__}({name}=...)")
        for name, value in {**arguments, "backbone": backbone}.items()
        if name not in left_out
    }
    return {"task": class_path(task_class), **plain}


def _plain(value: Any, where: str) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value), where)
    if isinstance(value, dict):
        return {key: _plain(each, where) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, where) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{where} is a {type(value).__name__}, which a checkpoint cannot hold: take numbers, strings, lists, dicts or "
        "a dataclass of these, and build the object from them in the constructor"
    )


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
