"""``schema``: every shipped configuration is valid, and a mistyped key is not."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpt_lightning import tasks
from gpt_lightning.cli import main
from gpt_lightning.commands.run.json_schema import json_schema
from gpt_lightning.commands.run.subcommand_parsers import subcommand_parsers
from gpt_lightning.data.find import data_modules
from gpt_lightning.tasks.saving import arguments_of
from tests.json_schema import Validator

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema()


@pytest.fixture(scope="module")
def valid() -> dict[str, Any]:
    return {
        "trainer": {
            "max_steps": 5,
            "callbacks": [{"class_path": "EarlyStopping", "init_args": {"monitor": "val/loss"}}],
            "logger": {"class_path": "lightning.pytorch.loggers.CSVLogger"},
        },
        "model": {"class_path": "gpt_lightning.CausalLM", "init_args": {"backbone": {"n_layer": 2, "n_embd": 64}}},
        "data": {"class_path": "LanguageModeling", "init_args": {"train": ["a.txt", "b.txt"], "validation": 0.1}},
    }


def test_a_jsonargparse_without_schemas_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("jsonargparse._completions_jsonschema")
    monkeypatch.setitem(sys.modules, "jsonargparse._completions_jsonschema", None)
    assert main(["schema"]) == 2
    assert "makes no JSON schema. Install another version" in capsys.readouterr().err


def test_the_command_prints_the_schema(schema: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema


def test_shipped_configurations_are_valid(schema: dict[str, Any]) -> None:
    assert len(CONFIGS) >= 33
    for path in CONFIGS:
        assert list(Validator(schema).errors(yaml.safe_load(path.read_text()))) == [], path.name


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "configs/backbone").glob("*.yaml")), ids=str)
def test_shapes_are_valid_backbones(path: Path, schema: dict[str, Any], valid: dict[str, Any]) -> None:
    config = copy.deepcopy(valid)
    config["model"]["init_args"]["backbone"] = yaml.safe_load(path.read_text())
    assert list(Validator(schema).errors(config)) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("trainer", "max_stepz"), 5),
        (("trainer", "max_steps"), "many"),
        (("model", "init_args", "backbone", "n_layers"), 2),
        (("model", "init_args", "optimizer"), {"learning_rate": 1.0}),
        (("data", "init_args", "label_column"), "a"),
        (("data", "class_path"), "LanguageModelling"),
        (("experimentt",), "name"),
        (("resume",), "sometimes"),
        (("trainer", "callbacks"), [{"class_path": "EarlyStopping", "init_args": {"patiense": 3}}]),
    ],
)
def test_mistakes_are_invalid(
    place: tuple[str, ...], value: Any, schema: dict[str, Any], valid: dict[str, Any]
) -> None:
    assert list(Validator(schema).errors(valid)) == []
    config = copy.deepcopy(valid)
    inner = config
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    assert list(Validator(schema).errors(config)) != []


def test_classes_of_the_user_have_any_arguments(schema: dict[str, Any], valid: dict[str, Any]) -> None:
    config = copy.deepcopy(valid) | {"model": {"class_path": "my_package.MyTask", "init_args": {"anything": 1}}}
    assert list(Validator(schema).errors(config)) == []


def test_every_key_is_described(schema: dict[str, Any]) -> None:
    """Compare with the parser's options, which the table of all keys also shows."""

    def keys(properties: dict[str, Any], prefix: str = "") -> set[str]:
        found = set()
        for name, each in properties.items():
            inner = [each, *each.get("anyOf", [])]
            inner += [schema["$defs"][part["$ref"].rpartition("/")[2]] for part in inner if "$ref" in part]
            nested = [part["properties"] for part in inner if "properties" in part and not prefix.startswith("trainer")]
            found |= {f"{prefix}{name}"}.union(*(keys(part, f"{prefix}{name}.") for part in nested))
        return found

    files = keys(schema["properties"])
    options = {action.dest for action in subcommand_parsers()["fit"]._actions if action.option_strings}
    options -= {"config", "print_config", "allow_import", *(name for name in options if name.endswith("help"))}
    assert len(options) > 50
    assert options <= files
    for kind, classes in (("Task", tasks.CONCRETE), ("LightningDataModule", data_modules())):
        described = {each["properties"]["class_path"]["enum"][0]: each for each in schema["$defs"][kind]["anyOf"][1:-1]}
        for each in classes:
            own = keys(described[each.__name__]["properties"]["init_args"]["properties"])
            arguments = {action.dest for action in arguments_of(each)._actions if action.option_strings}
            assert {name for name in arguments if not name.endswith("help")} <= own, each
