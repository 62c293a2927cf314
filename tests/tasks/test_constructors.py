"""Saving and loading of the constructor arguments of user-defined tasks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import lightning.pytorch as L
import numpy as np
import pytest

import gpt_lightning as gl
from gpt_lightning.tasks import CausalLM, SequenceClassification, Task
from gpt_lightning.tasks.settings import TaskSettings
from gpt_lightning.unpack import Unpack
from tests.runs import TINY, language_modeling, trainer

SHAPE = replace(TINY, vocab_size=257)


@dataclass(frozen=True)
class Pool:
    """User-defined settings with a list."""

    sizes: list[int]
    name: str = "mean"


class Typed(CausalLM):
    def __init__(
        self,
        names: dict[str, str] | None = None,
        layers: list[list[int]] | None = None,
        sizes: list[int | None] | None = None,
        pool: Pool | None = None,
        **settings: Unpack[TaskSettings],
    ) -> None:
        super().__init__(**settings)
        self.kept = (names, layers, sizes, pool)


class Untyped(CausalLM):
    def __init__(self, width=3, **settings: Any) -> None:  # type: ignore[no-untyped-def]
        super().__init__(**settings)
        self.save_hyperparameters()  # as users of Lightning do
        self.kept = width


class Named(CausalLM):
    def __init__(self, settings: str = "x", **others: Any) -> None:
        super().__init__(**others)
        self.kept = settings


class Fixed(SequenceClassification):
    def __init__(self, **settings: Any) -> None:
        super().__init__(labels=["no", "yes"], **settings)
        self.kept = None


TASKS: list[Callable[[], Any]] = [
    lambda: Typed(names={"a": "b"}, layers=[[1], [2, 3]], sizes=[1, None], pool=Pool([4]), backbone=SHAPE),
    lambda: Typed(backbone=SHAPE),
    lambda: Untyped(width=5, backbone=SHAPE),
    lambda: Untyped(width=np.float64(0.5), backbone=SHAPE),
    lambda: Named(settings="y", backbone=SHAPE),
    lambda: Fixed(backbone=SHAPE),
]


@pytest.mark.parametrize("number", range(len(TASKS)))
def test_arguments_are_restored(tmp_path: Path, number: int) -> None:
    task: Any = TASKS[number]()
    fit, data = trainer(tmp_path), language_modeling(tmp_path)
    fit.strategy.connect(task)
    task.trainer = fit
    fit._data_connector.attach_datamodule(task, data)
    fit.save_checkpoint(tmp_path / "one.ckpt")
    loaded: Any = gl.load(tmp_path / "one.ckpt", device="cpu").task
    assert type(loaded) is type(task)
    assert loaded.kept == task.kept
    assert loaded.hparams == task.hparams


class Outer(L.LightningModule):
    """Module that contains a task, and whose arguments are not arguments of the task."""

    def __init__(self, teacher: object, labels: list[str]) -> None:
        super().__init__()
        self.inner = CausalLM(backbone=SHAPE)
        self.known = (teacher, labels)


def test_only_the_arguments_of_the_task_are_saved() -> None:
    assert not {"teacher", "labels"} & set(Outer(object(), ["a"]).inner.hparams)


class Explicit(CausalLM):
    def __init__(self, width: int = 3) -> None:
        CausalLM.__init__(self, backbone=SHAPE)
        self.width = width


def test_arguments_that_checkpoints_would_miss_are_an_error() -> None:
    with pytest.raises(TypeError, match=r"Explicit: checkpoints would not contain the arguments width\. .* super\(\)"):
        Explicit(width=5)


def test_argument_types_that_checkpoints_cannot_hold_are_an_error() -> None:
    with pytest.raises(TypeError, match=r"Untyped\(width=\.\.\.\) is a set, which a checkpoint cannot hold"):
        Untyped(width={1}, backbone=SHAPE)


def test_task_settings_mirror_the_arguments_of_the_base_constructor() -> None:
    declared = {name: hint for name, hint in get_type_hints(Task.__init__).items() if name != "return"}
    assert get_type_hints(TaskSettings) == declared
