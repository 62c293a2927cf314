"""No class or function of the packages that gpt_lightning builds on gets through, except for the listed ones."""

import importlib
import inspect
import pkgutil
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
import torchmetrics
from jsonargparse import ArgumentParser
from lightning.fabric.plugins import ClusterEnvironment
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import LayerSync, Precision
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy

import gpt_lightning
from gpt_lightning import data, tasks
from gpt_lightning.commands.guard.allowed_classes import PARTS, listed_names, names_of, slot_at, slots
from gpt_lightning.commands.guard.config_guard import check
from gpt_lightning.commands.guard.parser_imports import importing_only
from gpt_lightning.errors import InputError
from gpt_lightning.tasks.saving import arguments_of
from gpt_lightning.unsupported_callbacks import why_unsupported
from tests.reliability.conftest import many, tally

pytestmark = pytest.mark.reliability

PACKAGES = ("gpt_lightning", "lightning", "torch", "torchmetrics")
CODE = ("torch.hub", "torch.utils.collect_env", "torch.utils.cpp_extension", "torch.utils.bundled_inputs")
"""Modules that run commands, compile or download, which torch does not import by itself."""
BASES: dict[str, tuple[type, ...]] = {
    "model": (tasks.Task,),
    "data": (L.LightningDataModule,),
    "trainer.accelerator": (Accelerator,),
    "trainer.callbacks": (L.Callback,),
    "trainer.logger": (Logger,),
    "trainer.plugins": (Precision, ClusterEnvironment, LayerSync),
    "trainer.profiler": (Profiler,),
    "trainer.strategy": (Strategy,),
    "trainer.strategy.cluster_environment": (ClusterEnvironment,),
    "trainer.strategy.precision_plugin": (Precision,),
}
ANYWHERE = [
    "trainer.callbacks.init_args.setup",
    "trainer.callbacks.init_args.setup.class_path",
    "trainer.logger.init_args.experiment.class_path",
    "trainer.strategy.init_args.ddp_comm_hook",
    "trainer.strategy.init_args.ddp_comm_state.class_path",
    "trainer.strategy.init_args.checkpoint_io.class_path",
    "trainer.plugins.init_args.scaler.class_path",
    "model.init_args.anything",
    "model.init_args.anything.class_path",
    "data.init_args.anything.class_path",
    "samples.prompts.class_path",
    "checkpoints.class_path",
    "optimizer.class_path",
]
"""Keys of arguments that are typed Any, object, Callable or as a class that is not listed."""


@pytest.fixture(scope="module")
def reachable() -> dict[str, Any]:
    """Return all classes and functions of the four packages by each of their dotted names."""
    for module in pkgutil.walk_packages(gpt_lightning.__path__, "gpt_lightning."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in CODE:
        importlib.import_module(name)
    assert torchmetrics.Metric is not None
    assert torch.nn.Module is not None
    return {
        f"{module.__name__}.{name}": value
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").partition(".")[0] in PACKAGES
        for name, value in list(vars(module).items())
        if callable(value)
    }


def listed() -> set[str]:
    return {*PARTS, *(path for slot in slots().values() for path in slot.classes)}


def test_the_list_names_concrete_classes_of_the_right_kind_where_they_are_defined() -> None:
    assert {".".join(key) for key in slots()} == set(BASES)
    for key, slot in slots().items():
        for path in slot.classes:
            found = located(path)
            assert f"{found.__module__}.{found.__qualname__}" == path
            assert issubclass(found, BASES[".".join(key)])
            assert not inspect.isabstract(found) or found is tasks.Task
    assert {path.rpartition(".")[2] for path in slots()["model",].classes} == set(tasks.__all__)
    assert {path.rpartition(".")[2] for path in slots()["data",].classes} == set(data.__all__)


def test_the_documentation_has_the_list() -> None:
    text = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")
    for key in ("trainer.callbacks", "trainer.logger", "trainer.strategy", "trainer.plugins"):
        (line,) = re.findall(rf"^\| `{key}` \| (.*) \|$", text, re.MULTILINE)
        names = {path.rpartition(".")[2] for path in slots()[tuple(key.split("."))].classes}
        assert set(re.findall(r"`([A-Z]\w+)`", line)) == names


def test_only_loggers_have_arguments_with_which_a_class_writes_reads_or_connects() -> None:
    for path in listed():
        slot = next((".".join(key) for key, slot in slots().items() if path in slot.classes), "")
        for name in vars(arguments_of(located(path)).get_defaults(skip_validation=True)):
            is_risky = re.search(r"path|dir|file|url|uri|host|port|registry|command|script", name) is not None
            expected = name in ("save_dir", "sub_dir", "filename_suffix") if slot == "trainer.logger" else False
            is_ours = path.startswith("gpt_lightning.data.") and name == "cache_dir"
            tally("R20", not is_risky or expected or is_ours)


def located(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_the_parser_imports_listed_classes_and_nothing_else(reachable: dict[str, Any]) -> None:
    from jsonargparse._util import import_object

    assert len(reachable) > 20_000
    classes = {located(path) for path in listed()}
    with importing_only():
        for name, value in reachable.items():
            if isinstance(value, type) and value in classes:
                continue
            try:
                import_object(name)
            except ValueError:  # ImportDenied is one
                tally("R20", True)
            else:
                tally("R20", False)
        for name, member in members():
            try:
                found = import_object(f"{name}.{member}")
            except (ImportError, ValueError, AttributeError):
                tally("R20", True)
            else:
                tally("R20", not callable(found))


def members() -> Iterator[tuple[str, str]]:
    """Yield all names of the listed classes, each with the members of the class and of its metaclass."""
    for path in listed():
        found = located(path)
        for name in names_of(path):
            yield from ((name, each) for each in {*dir(found), *dir(type(found))} if "." in name)


def test_each_slot_accepts_its_listed_classes_only(reachable: dict[str, Any]) -> None:
    names = [name for name in reachable if all(map(str.isidentifier, name.split(".")))]
    for flag in (*BASES, *ANYWHERE):
        accepted = listed_names(tuple(flag.split(".")))
        classes = {located(path) for path in listed() if path in accepted}
        for name in accepted:
            check(["fit", f"--{flag}={name}"])
            assert "." not in name or reachable.get(name) in (*classes, None)
        for name in random.Random(flag).sample(names, many(400, len(names))):
            if name not in accepted:
                tally("R20", is_refused(flag, name))


@pytest.mark.parametrize("flag", ANYWHERE)
def test_no_class_passes_where_none_is_expected(flag: str) -> None:
    assert slot_at(tuple(flag.split("."))) is None
    for path in listed():
        for name in names_of(path):
            if "." in name or flag.endswith("class_path"):
                tally("R20", is_refused(flag, name))


def is_refused(flag: str, name: str) -> bool:
    try:
        check(["fit", f"--{flag}={name}"])
    except InputError as error:
        is_unsupported = why_unsupported(name) is not None and flag.startswith("trainer.callbacks")
        return f"--{flag}" in str(error) and ("allow_import" in str(error) or is_unsupported)
    return False


def test_nothing_is_built_in_a_place_for_any_value() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--any", type=Any)
    parser.add_argument("--object", type=object)
    spec = {"class_path": "lightning.pytorch.callbacks.Timer", "init_args": {"interval": "step"}}
    with importing_only():
        for flag in ("any", "object"):
            built = parser.instantiate(parser.parse_object({flag: spec}))
            tally("R20", not isinstance(built[flag], L.Callback))
