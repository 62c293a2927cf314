"""Values in layers, and the origin of each."""

from typing import Any

import pytest
from jsonargparse import Namespace

from gpt_lightning.commands.run.value_layers import Origin, Value, Values, flatten, from_flags, merge, nest, overlay
from gpt_lightning.errors import InputError

N_LAYER, LR = "model.init_args.backbone.n_layer", "model.init_args.optimizer.lr"


def layer(kind: Any, **values: Any) -> Values:
    keys = {"n_layer": N_LAYER, "lr": LR}
    return {keys[name]: Value(value, Origin(kind, f"the {kind}")) for name, value in values.items()}


def is_fixed(key: str) -> bool:
    return key == N_LAYER


@pytest.mark.parametrize(
    ("user", "lr", "origin", "line"),
    [
        ({}, 0.5, "checkpoint", "from the checkpoint: model.optimizer.lr=0.5"),
        (layer("file", lr=0.1), 0.1, "file", "changed: model.optimizer.lr=0.1 (the checkpoint has 0.5)"),
        (layer("flag", lr=0.1), 0.1, "flag", "changed: model.optimizer.lr=0.1 (the checkpoint has 0.5)"),
        (layer("file", lr=0.5), 0.5, "file", None),
    ],
)
def test_the_user_wins_over_a_checkpoint(user: Values, lr: float, origin: str, line: str | None) -> None:
    values, differences = merge(layer("default", lr=0.9), layer("checkpoint", lr=0.5), user, is_fixed)
    assert values[LR] == Value(lr, Origin(origin, f"the {origin}"))  # type: ignore[arg-type]
    assert differences == ([] if line is None else [line])


def test_a_value_equal_to_the_default_is_not_a_difference() -> None:
    values, differences = merge(layer("default", lr=0.5), layer("checkpoint", lr=0.5), {}, is_fixed)
    assert values[LR].value == 0.5
    assert differences == []


def test_a_checkpoint_wins_over_a_file_for_values_that_its_weights_depend_on() -> None:
    defaults, checkpoint = layer("default", n_layer=12), layer("checkpoint", n_layer=2)
    values, differences = merge(defaults, checkpoint, layer("file", n_layer=3), is_fixed)
    assert values[N_LAYER] == checkpoint[N_LAYER]
    assert differences == ["from the checkpoint: model.backbone.n_layer=2 (the configuration has 3)"]
    with pytest.raises(InputError, match=r"model\.backbone\.n_layer=3, but the checkpoint was trained with 2"):
        merge(defaults, checkpoint, layer("flag", n_layer=3), is_fixed)


def test_a_value_replaces_a_group_and_a_group_replaces_a_value() -> None:
    strategy = Namespace(trainer=Namespace(strategy=Namespace(class_path="X", init_args=Namespace(find=True))))  # type: ignore[no-untyped-call]
    group, value = flatten(strategy, Origin("file", "a.yaml")), from_flags({"trainer.strategy": "auto"})
    assert overlay(group, value) == value
    assert overlay(value, group) == group
    assert nest(group) == strategy


def test_values_of_a_python_caller_get_the_keys_and_origins_of_flags() -> None:
    assert from_flags({"model.lora.r": 4, "model.class_path": "X", "trainer.max_steps": 5}) == {
        "model.init_args.lora.r": Value(4, Origin("flag", "--model.lora.r")),
        "model.class_path": Value("X", Origin("flag", "--model.class_path")),
        "trainer.max_steps": Value(5, Origin("flag", "--trainer.max_steps")),
    }
