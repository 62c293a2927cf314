"""Completion of commands and options in bash, zsh and fish."""

import importlib
import os
import pty
import select
import shutil
import subprocess
import time
from argparse import SUPPRESS, _SubParsersAction
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt_lightning.cli import main
from gpt_lightning.commands.completion import program
from gpt_lightning.commands.run.subcommand_parsers import subcommand_parsers
from gpt_lightning.commands.table import COMMANDS

Complete = Callable[[str], str]
"""Return the words that a shell offers for the end of a command line."""


@pytest.fixture(params=["bash", "zsh", "fish"])
def complete(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Complete:
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert main(["completion", shell]) == 0
    script = tmp_path / f"completion.{shell}"
    script.write_text(capsys.readouterr().out)
    return {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}[shell](script)


def in_bash(script: Path) -> Complete:
    def words(line: str) -> str:
        source = f"""
            source {script}
            COMP_WORDS=({line.replace("~", "''")})
            COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            _shtab_gpt_lightning
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        return subprocess.run(["bash", "-c", source], capture_output=True, text=True, check=True).stdout

    return words


def in_fish(script: Path) -> Complete:
    def words(line: str) -> str:
        source = f"source {script}; complete -C '{line.replace('~', '')}'"
        result = subprocess.run(["fish", "-N", "-c", source], capture_output=True, text=True, check=True)
        return "\n".join(each.split("\t")[0] for each in result.stdout.splitlines())

    return words


def in_zsh(script: Path) -> Complete:
    """Type a line and Tab into an interactive shell, because zsh completes nowhere else."""

    def words(line: str) -> str:
        terminal, other_end = pty.openpty()
        environment = os.environ | {"TERM": "dumb", "COLUMNS": "300"}
        shell = subprocess.Popen(
            ["zsh", "-f", "-i"], stdin=other_end, stdout=other_end, stderr=other_end, env=environment, process_group=0
        )
        os.close(other_end)
        mark = 'mark() { print done-$((1 + 1)) }; zle -N mark; bindkey "^T" mark'
        complete = f'autoload -Uz compinit; compinit -D -u; LISTMAX=10000; eval "$(cat {script})"'
        os.write(terminal, f"{mark}; {complete}; print ready-$((1 + 1))\n".encode())
        _read(terminal, until="ready-2")
        os.write(terminal, f"{line.replace('~', '')}\t\t\x14".encode())
        shown = _read(terminal, until="done-2")
        shell.kill()
        shell.wait()
        os.close(terminal)
        return shown

    return words


def _read(terminal: int, until: str) -> str:
    """Return the output of a terminal up to a text."""
    shown, deadline = "", time.monotonic() + 60
    while until not in shown:
        assert select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0], shown
        shown += os.read(terminal, 65536).decode(errors="replace")
    return shown


def test_commands_options_and_values_are_completed(complete: Complete) -> None:
    """A tilde stands for an empty last word."""
    assert set(COMMANDS) <= set(complete("gpt-lightning ~").split())
    assert "--trainer.max_epochs" in complete("gpt-lightning fit --trainer.max_ep")
    assert "--model.backbone.n_layer" in complete("gpt-lightning fit --model.backbone.n_la")
    assert "--data.label_column" in complete("gpt-lightning fit --data.label_c")
    assert "auto" in complete("gpt-lightning fit --resume au")
    assert "--input" in complete("gpt-lightning predict --inp")
    assert "--top_k" in complete("gpt-lightning generate --top_")
    assert "--vocab_size" in complete("gpt-lightning tokenizer train --voc")
    assert "--save_at" in complete("gpt-lightning verify-resume --save")


def test_every_option_of_every_command_is_completed() -> None:
    """The scripts of all shells are made from this parser."""
    completed = next(each for each in program()._actions if isinstance(each, _SubParsersAction)).choices
    assert set(completed) == set(COMMANDS)
    runs = subcommand_parsers()
    for command, (module, _) in COMMANDS.items():
        own = runs.get(command) or importlib.import_module(f"gpt_lightning.commands.{module}").parser()
        options = [*own._actions, *(runs["fit"]._actions if command == "inspect" else [])]
        names = {name for each in options if each.help != SUPPRESS for name in each.option_strings if name[-1] != "+"}
        assert names <= set(completed[command]._option_string_actions), command
