"""Label names in YAML files and flags, which keep the spelling that the user has written."""

from typing import Any

import pytest
import yaml

from gpt_lightning.commands.run.label_names import load_yaml, quote_flags, quote_labels

NAMES = ["1", "02", "1.0", "1e3", "no", "Yes", "on", "off", "y", "true", "null", "~", "2020-01-01", "1_000", "12:30"]
"""Label names that YAML 1.1 reads as numbers, booleans, null or dates."""


@pytest.mark.parametrize("key", ["labels", "label_columns"])
@pytest.mark.parametrize("style", [True, False])
def test_items_of_a_list_of_labels_are_strings(key: str, style: bool) -> None:
    items = ", ".join(NAMES)
    text = f"data:\n  {key}: [{items}]\n" if style else f"data:\n  {key}:\n" + "".join(f"  - {n}\n" for n in NAMES)
    assert load_yaml(text + "  seed: 1\n") == {"data": {key: NAMES, "seed": 1}}
    assert quote_flags([f"--data.{key}=[{items}]"]) == [f"--data.{key}={yaml_list(NAMES)}"]


def yaml_list(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def test_keys_of_class_weights_are_strings_and_values_are_numbers() -> None:
    text = "model:\n  class_weights:\n" + "".join(f"    {name}: {number}\n" for number, name in enumerate(NAMES))
    assert load_yaml(text) == {"model": {"class_weights": {name: number for number, name in enumerate(NAMES)}}}
    flags = quote_flags(["--model.class_weights", "{no: 1, 2: 5}", "--model.thresholds={yes: 0.3}", "--x", "no"])
    assert flags == ["--model.class_weights", '{"no": 1, "2": 5}', '--model.thresholds={"yes": 0.3}', "--x", "no"]


@pytest.mark.parametrize("text", ["labels: a.txt", "labels: null", "class_weights: balanced", "labels: ['no', \"1\"]"])
def test_other_values_are_unchanged(text: str) -> None:
    assert quote_labels(text) == text


@pytest.mark.parametrize("text", ["labels: [no", "labels: }", "\tlabels: [1]"])
def test_text_that_is_not_yaml_is_unchanged(text: str) -> None:
    assert quote_labels(text) == text


def test_the_file_of_a_run_holds_the_same_names() -> None:
    values: dict[str, Any] = {"labels": NAMES, "class_weights": dict.fromkeys(NAMES, 2.0)}
    assert load_yaml(yaml.safe_dump(values)) == values
