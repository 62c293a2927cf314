"""Help of the program and of its commands."""

import argparse
import importlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gpt_lightning.cli import main
from gpt_lightning.commands.help_page import entry_of, help_page, sections_of
from gpt_lightning.commands.parser import Parser, ParserWithPage
from gpt_lightning.commands.run.pages import PAGES
from gpt_lightning.commands.table import COMMANDS, GROUPS
from gpt_lightning.toy_world.write import SPLITS, write

PLAIN = [name for name, (module, _) in COMMANDS.items() if module != "run.cli"]


def parsers(name: str) -> Iterator[ParserWithPage]:
    """Yield the parser of a command and those of its subcommands."""
    parser = importlib.import_module(f"gpt_lightning.commands.{COMMANDS[name][0]}").parser()
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def examples(name: str) -> list[list[str]]:
    """Return the words of each example in the help of a command, without ``gpt-lightning``, with ``>`` and its file."""
    texts = PAGES[name].examples if name in PAGES else [each for p in parsers(name) for each in p.examples or [p.prog]]
    commands = [shlex.split(text.replace("\\\n", "")) for text in texts]
    assert {words[0] for words in commands} == {"gpt-lightning"}
    return [words[1:] for words in commands]


def test_the_help_lists_every_command_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for title, commands in GROUPS.items():
        assert f"{title}:" in lines
        for name, (_, summary) in commands.items():
            assert any(line.split(maxsplit=1) == [name, summary] for line in lines)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", PLAIN)
def test_the_help_of_a_command_lists_every_option_and_an_example(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for parser in parsers(name):
        path = parser.prog.replace(" [options]", "").split()[1:]
        with pytest.raises(SystemExit) as stop:
            main([*path, "--help"])
        assert stop.value.code == 0
        page = capsys.readouterr().out
        words = page.split("\n\n", 1)[1].replace(",", " ").split()
        for action in parser._actions:
            if action.help == argparse.SUPPRESS:
                continue
            if isinstance(action, argparse._SubParsersAction):
                assert set(action.choices) <= set(words)
                continue
            assert action.help, f"{action.dest} has no explanation"
            names = [option for option in action.option_strings if not option.endswith("+")]
            assert set(names or [str(action.metavar)]) <= set(words)
        assert f"  gpt-lightning {' '.join(path)}" in page.split("Example")[1]


def test_every_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The examples of all commands, in an order in which each finds the files of those before it, on a small world."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    few = {split: 300 if split.startswith("text") else 60 for split in SPLITS}
    monkeypatch.setattr("gpt_lightning.toy_world.write.write", partial(write, counts=few))
    elsewhere = {
        "quickstart": "its own test runs it, because it takes minutes",
        "verify-resume": "its own test runs it, because it starts three processes",
        "bias": "its own test runs it, because the sentence pairs are a download",
        "lm-eval": "the tasks are downloads",
        "completion": "its own test runs it",
        "compare": "its own test runs it, because it needs two runs",
        "schema": "its own test runs it",
        "without": "its own test runs it, because it repeats a run",
        "doctor": "its own test runs it, because its exit code depends on the machine",
    }
    order = [
        "toy-world",
        "init",
        "fit",
        "inspect",
        "validate",
        "test",
        "predict",
        "evaluate",
        "generate",
        "explain",
        "export",
        "tokenizer",
    ]
    assert {*order, *elsewhere} == set(COMMANDS)
    # An example of tokenizer shows the one that another example trains.
    commands = sorted(
        (words for name in order for words in examples(name)), key=lambda words: words[:2] == ["tokenizer", "show"]
    )
    for line in commands:
        capsys.readouterr()
        words, target = (line[: line.index(">")], line[-1]) if ">" in line else (line, None)
        shorter = ["--trainer.max_steps=4", "--trainer.accelerator=cpu", "--trainer.devices=1"]
        assert main([*words, *shorter] if words[0] == "fit" else words) == 0, (words, capsys.readouterr().err)
        if target is not None:
            Path(target).write_text(capsys.readouterr().out)
    os.environ.pop("PL_GLOBAL_SEED", None)
    assert (tmp_path / "predictions.jsonl").read_text()
    for name in elsewhere:
        for words in examples(name):
            parser = next(parsers(name))
            arguments = words[1 : words.index(">") if ">" in words else None]
            (parser.parse_args if isinstance(parser, Parser) else parser.parse_known_args)(arguments)


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from gpt_lightning.cli import main; main(['fit', '--help']); "
        "print(sorted({'torch', 'numpy', 'lightning', 'jsonargparse', 'yaml'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert run.stdout.endswith("\n[]\n")


def test_a_page_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser(prog="gpt-lightning bake")
    parser.add_argument("cakes", nargs="+", metavar="CAKE", help="cakes to bake.")
    parser.add_argument(
        "--a_name_that_is_much_longer_than_the_others", type=int, default=3, help="a ``number`` of eggs"
    )
    parser.add_argument(
        "--glaze", action="store_true", help="pour sugar, lemon juice and a little water over the cakes"
    )
    parser.add_argument("--oven", required=True, choices=["gas", "wood"], help="heat")
    monkeypatch.setenv("COLUMNS", "60")
    page = help_page("gpt-lightning bake CAKE ...", "Bake cakes.", sections_of(parser), ["gpt-lightning bake plum"])
    assert max(map(len, page.splitlines())) <= 60
    assert "  CAKE ..." in page
    assert "(default: 3)" in page
    assert entry_of(parser._actions[-1]) == ("--oven {gas,wood}", "heat (required)")
    assert page.endswith("Example:\n  gpt-lightning bake plum")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fit", "--help"], ["toy-world", "--help"]])
def test_a_closed_pipe_ends_quietly(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "gpt_lightning", *arguments]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")
