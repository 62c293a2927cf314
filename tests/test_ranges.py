"""Arguments of every class of this package with values of every kind."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as L
import pytest
from jsonargparse import ArgumentError, ArgumentParser

from gpt_lightning import data, tasks, training
from gpt_lightning.commands.run.wrong_types import refuse_wrong_types
from gpt_lightning.errors import InputError, input_error
from gpt_lightning.models import GPTConfig
from gpt_lightning.models.lora import LoRA
from gpt_lightning.optim import FineTuning, OptimizerConfig, Schedule
from gpt_lightning.ranges import check_count, check_number
from tests.reliability.conftest import many, tally

VALUES: Final[list[Any]] = [
    None, -1, 0, 1, 2, 2**31, 10**20, True, 0.5, 1e300, float("nan"), float("inf"), -float("inf"),
    "", "text", "~nobody/x", "null", "a: b", "\x00", "\ud800", [], [[1]], [None], {}, {"a": 1}, {None: []},
]  # fmt: skip
"""Values as a YAML file may give them."""

OWN: Final = [GPTConfig, LoRA, FineTuning, OptimizerConfig, Schedule]
CALLBACKS: Final = [getattr(training, name) for name in training.__all__]
MODULES: Final = [getattr(data, name) for name in data.__all__]
TASKS: Final = [getattr(tasks, name) for name in tasks.__all__ if name != "Task"]
TINY: Final[dict[str, Any]] = {"backbone": {"n_layer": 1, "n_head": 1, "n_embd": 2, "block_size": 4, "vocab_size": 3}}


def trials(owner: type[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each argument of a class, and arguments that give it each of ``VALUES``."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(owner, "x", fail_untyped=False, sub_configs=True)
    keys = [action.dest.removeprefix("x.") for action in parser._actions if action.dest.startswith("x.")]
    fixed = {"labels": ["a", "b"]} if "labels" in keys and owner in TASKS else {}
    for key, value in itertools.product(keys, VALUES):
        arguments: dict[str, Any] = {**(TINY if owner in TASKS else {}), **fixed}
        *groups, last = key.split(".")
        inner = arguments
        for group in groups:
            inner[group] = dict(inner.get(group, {}))
            inner = inner[group]
        inner[last] = value
        yield key, arguments


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("owner", [*OWN, *CALLBACKS, *MODULES, *TASKS])
def test_every_value_is_accepted_or_refused_with_a_message(
    owner: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test R19: what the parser accepts, the constructor accepts or refuses."""
    monkeypatch.chdir(tmp_path)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(owner, "x", fail_untyped=False, sub_configs=True)
    step = many(25 if owner in TASKS else 4, 1)
    for key, arguments in itertools.islice(trials(owner), 0, None, step):
        try:
            parsed = parser.parse_object({"x": arguments})
            refuse_wrong_types(parser, parsed)
            built = parser.instantiate(parsed).x
        except (ArgumentError, InputError) as error:
            tally("R19", len(str(error)) > 0)
        except Exception as error:
            if input_error(error) is None:
                raise AssertionError(f"{owner.__name__}({key}): {arguments}") from error
        else:
            tally("R19", not isinstance(built, L.LightningModule) or built.head is not None)


@pytest.mark.parametrize("value", ["3", None, 1.0, [1], float("nan")])
def test_a_count_is_a_whole_number(value: object) -> None:
    with pytest.raises(InputError, match=r"^key=.* must be a whole number$"):
        check_count("key", value)


@pytest.mark.parametrize(("value", "limit"), [(0, "least 1"), (11, "most 10"), (10**30, "most 10")])
def test_a_count_lies_in_its_range(value: int, limit: str) -> None:
    with pytest.raises(InputError, match=f"^key={value} must be at {limit}$"):
        check_count("key", value, most=10)


@pytest.mark.parametrize("value", ["3", None, float("nan"), float("inf"), -1e-9, [1.0]])
def test_a_number_is_finite_and_in_its_range(value: object) -> None:
    with pytest.raises(InputError, match=r"^key=.* must be (a finite number|at least 0)$"):
        check_number("key", value)
