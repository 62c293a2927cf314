"""Errors of command-line parsers."""

from typing import Literal

import pytest

from gpt_lightning.commands.parser import Parser


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--size=big", "invalid value for size: expected int, got big"),
        ("--flavor=chery", "invalid value for flavor: expected one of cherry, lemon, got chery; did you mean cherry?"),
        ("--flavor=x", "invalid value for flavor: expected one of cherry, lemon, got x"),
        ("--siez=3", "unknown key 'siez'; did you mean 'size'?"),
    ],
)
def test_an_invalid_option_is_explained_in_one_line(
    option: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser(prog="gpt-lightning bake")
    parser.add_argument("--size", type=int)
    parser.add_argument("--flavor", type=Literal["cherry", "lemon"])
    with pytest.raises(SystemExit) as stop:
        parser.parse_args([option])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"gpt-lightning bake: {message}\n"


def test_missing_arguments_have_the_names_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="gpt-lightning bake")
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--flour", required=True, metavar="GRAMS")
    with pytest.raises(SystemExit):
        parser.parse_args([])
    assert capsys.readouterr().err == "gpt-lightning bake: DIR and --flour GRAMS: no value is given. See --help\n"


@pytest.mark.parametrize("arguments", [["[" * 50_000], ["--size=" + "9" * 50_000], [f"--{'x' * 50_000}=1"]])
def test_a_value_of_thousands_of_characters_is_shortened(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser(prog="gpt-lightning bake")
    parser.add_argument("--size", type=int)
    with pytest.raises(SystemExit):
        parser.parse_args(arguments)
    message = capsys.readouterr().err
    assert message.startswith("gpt-lightning bake: ")
    assert len(message) < 1200
