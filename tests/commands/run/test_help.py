"""Help of ``fit``, ``validate``, ``test`` and ``predict``."""

import argparse
import json
import re
from typing import Any

import pytest
import yaml

from gpt_lightning import data, tasks
from gpt_lightning.commands.completion import _class_options
from gpt_lightning.commands.run.command_line import predict_shorthand
from gpt_lightning.commands.run.common_options import OPTIONS, sections
from gpt_lightning.commands.run.full_help import TRAINER_TEXTS
from gpt_lightning.commands.run.pages import FILE, PAGES, short_help
from gpt_lightning.commands.run.subcommand_parsers import subcommand_parsers
from gpt_lightning.commands.run.value_layers import full_key
from gpt_lightning.tasks.saving import arguments_of
from tests.commands.run.test_cli import Run, run

__all__ = ["run"]

_LISTED = re.compile(r"\((?:(?P<only>[\w, ]+) only; )?default: (?P<default>[^;]*?)(?P<others>(?:; \w+: [^;]*)*)\)$")
"""Explanation of an option in ``help.json``: the classes that have it, its default, and other defaults by class."""


def value_at(config: dict[str, Any], key: str) -> Any:
    """Return the value of a flag's key in a configuration."""
    for part in full_key(key).split("."):
        config = config[part]
    return config


CLASSES = [
    ("CausalLM", "LanguageModeling"),
    ("SequenceClassification", "TextClassification"),
    ("TokenClassification", "SequenceTagging"),
    ("QuestionAnswering", "ReadingComprehension"),
]


def test_the_written_options_are_those_of_the_parsers() -> None:
    written = json.loads(FILE.read_text())
    assert written == {name: sections(name) for name in OPTIONS}, (
        "an option has changed: python -m gpt_lightning.commands.run.common_options writes help.json again"
    )


@pytest.mark.parametrize(("task", "module"), CLASSES)
def test_the_defaults_are_those_of_a_run(run: Run, task: str, module: str) -> None:
    code, out, err = run("fit", f"--model={task}", f"--data={module}", "--print_config")
    assert code == 0, err
    config, compared = yaml.safe_load(out), 0
    for entries in json.loads(FILE.read_text())["fit"].values():
        for name, text in entries.items():
            key = name.partition(" ")[0].removeprefix("--")
            listed = _LISTED.search(text)
            if listed is None or key in ("model", "data"):
                continue
            if listed["only"] and not {task, module} & set(listed["only"].split(", ")):
                continue
            others = dict(each.split(": ") for each in listed["others"].split("; ")[1:])
            default = others.get(module, others.get(task, listed["default"]))
            assert value_at(config, key) == yaml.safe_load(default), key
            compared += 1
    assert compared > 35


@pytest.mark.parametrize("name", PAGES)
def test_the_short_help(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    code, page, _ = run(name, "-c", "absent.yaml", "--help")
    assert code == 0
    assert page == short_help(name) + "\n"
    assert len(page.splitlines()) <= 140
    assert "--help all" in page
    assert "Example" in page
    for key in {"data.train", "model.optimizer.lr", "trainer.max_steps"} if name == "fit" else {"ckpt_path"}:
        assert f"--{key}" in page
    assert ("--input FILE" in page and "--output FILE" in page) == (name == "predict")


@pytest.mark.parametrize("name", PAGES)
def test_the_full_help_lists_every_option(run: Run, name: str) -> None:
    code, page, err = run(name, "--model=TokenClassification", "--help", "all")
    assert code == 0, err
    words = page.split()
    assert "main advantage" not in page
    parsers: list[argparse.ArgumentParser] = [subcommand_parsers()[name]]
    parsers += [arguments_of(tasks.TokenClassification, "model"), arguments_of(data.SequenceTagging, "data")]
    parsers += [predict_shorthand()] if name == "predict" else []
    options = [
        option
        for parser in parsers
        for action in parser._actions
        for option in action.option_strings[-1:]
        if action.help != argparse.SUPPRESS and not option.endswith("+")
    ]
    assert len(options) > 100
    for option in options:
        assert any(word.rstrip(",").partition("[")[0] == option for word in words), option


def test_the_full_help_explains_the_trainer_as_the_short_help_does(run: Run) -> None:
    code, page, err = run("fit", "--help", "all")
    assert code == 0, err
    words = " ".join(page.split())
    assert [text for text in TRAINER_TEXTS.values() if text not in words] == []


def test_completion_offers_no_options_of_the_abstract_task(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[type] = []

    def recorded(owner: type, prefix: str) -> Any:
        read.append(owner)
        return arguments_of(owner, prefix)

    monkeypatch.setattr("gpt_lightning.tasks.saving.arguments_of", recorded)
    list(_class_options())
    assert tasks.Task not in read
    assert {*tasks.CONCRETE} < {*read}


def test_the_full_help_is_that_of_the_given_file(run: Run) -> None:
    code, page, err = run("fit", "-c", "config.yaml", "--help=all")
    assert code == 0, err
    assert "Options of CausalLM:" in page
    assert "Options of LanguageModeling:" in page
    code, page, _ = run("fit", "--data=ReadingComprehension", "-h", "all")
    assert code == 0
    assert "Options of QuestionAnswering:" in page
