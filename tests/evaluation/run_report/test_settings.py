from pathlib import Path

import pytest

from gpt_lightning.evaluation.run_report.settings import (
    HIDDEN,
    command_without_secrets,
    flatten,
    read_settings,
    without_secrets,
)


def test_keys_are_those_of_flags() -> None:
    config = {"model": {"class_path": "A", "init_args": {"lr": 1, "empty": {}}}, "trainer": {"logger": [{"a": 1}]}}
    assert flatten(config) == {
        "model.class_path": "A",
        "model.lr": 1,
        "model.empty": {},
        "trainer.logger": [{"a": 1}],
    }


def test_secrets_are_hidden_and_sizes_are_not() -> None:
    settings = {
        "trainer.logger": [{"class_path": "W", "init_args": {"api_key": "s3cret", "token": "t", "project": "p"}}],
        "data.train": "https://user:pw@host/file",
        "samples.max_new_tokens": 100,
        "model.max_answer_tokens": 3,
        "password": None,
    }
    hidden = without_secrets(settings)
    assert hidden["trainer.logger"][0]["init_args"] == {"api_key": "(hidden)", "token": "(hidden)", "project": "p"}
    assert hidden["data.train"] == "https://host/file"
    assert (hidden["samples.max_new_tokens"], hidden["model.max_answer_tokens"], hidden["password"]) == (100, 3, None)


def test_secrets_in_commands_are_hidden() -> None:
    typed = ["fit", "--a.api_key=x", "--b.token", "y", "--c", "z", "--d=https://u:p@h/x", "https://u:p@h"]
    assert command_without_secrets(typed) == [
        "fit",
        "--a.api_key=(hidden)",
        "--b.token",
        "(hidden)",
        "--c",
        "z",
        "--d=https://h/x",
        "https://h",
    ]


@pytest.mark.parametrize(
    "value",
    [
        '{"class_path": "W", "init_args": {"api_key": "s3cret", "project": "p"}}',
        "{class_path: W, init_args: {api_key: s3cret, project: p}}",
        "class_path: W\ninit_args:\n  api_key: s3cret\n  project: p\n",
        '[{"class_path": "W", "dict_kwargs": {"headers": {"Authorization": "Bearer s3cret"}, "project": "p"}}]',
        '{"tracking_uri": "https://user:s3cret@host/", "project": "p"}',
        '{"secret_key": ["s3cret"], "project": "p"}',
        '{"access_token": {"value": "s3cret"}, "project": "p"}',
    ],
)
@pytest.mark.parametrize("form", ["--trainer.logger={}", "--trainer.logger+={}", "--trainer.logger {}"])
def test_secrets_in_inline_values_are_hidden(value: str, form: str) -> None:
    option, separator, _ = form.partition("{}")[0].partition(" ")
    arguments = [option, value] if separator else [form.format(value)]
    shown = " ".join(command_without_secrets(["fit", *arguments]))
    assert "s3cret" not in shown
    assert "project" in shown


def test_aliases_without_end_are_hidden() -> None:
    assert command_without_secrets(["--a=&a [*a, {api_key: s3cret}]"]) == [f"--a={HIDDEN}"]


def test_values_without_secrets_stay_as_typed() -> None:
    typed = [
        "-c",
        "a.yaml",
        "--data.pad_token=<pad>",
        "--b",
        "{x: 1,  y: [2]}",
        "--c=12:30",
        "--d= {",
        "--e={eos_token: x}",
    ]
    assert command_without_secrets(typed) == typed


def test_configurations_that_are_none_are_empty(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == {}
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    for text in ("[1, 2]", "a: [", "!!python/object:os.system x", "[" * 5000, "a: &a [*a]", bomb, "\x00"):
        (tmp_path / "config.yaml").write_text(text)
        assert read_settings(tmp_path) == {}
    (tmp_path / "config.yaml").write_text("trainer:\n  max_steps: 5\n")
    assert read_settings(tmp_path) == {"trainer.max_steps": 5}
