"""Runs the blocks of a page in order, in one folder, as a reader would but with little data and few steps."""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pytest

from gpt_lightning.cli import main
from tests.doc_blocks import ROOT, Block

_SHORT: Final = {
    "fit": (
        "--trainer.max_steps=2 --trainer.limit_val_batches=2 --trainer.accelerator=cpu --samples.max_new_tokens=3 "
        "--data.batch_size=2"
    ),
    "validate": "--trainer.limit_val_batches=2 --trainer.accelerator=cpu",
    "test": "--trainer.limit_test_batches=2 --trainer.accelerator=cpu",
    "predict": "--trainer.accelerator=cpu",
    "generate": "--max_new_tokens=4",
}
"""Command -> flags that it gets unless the page gives them."""
_TINY: Final = "--model.backbone.n_layer=1 --model.backbone.n_head=2 --model.backbone.n_embd=32"
"""The shape of models that start from scratch."""
_HAS_SHAPE: Final = re.compile(r"--(model\.init_from|ckpt_path|resume)\b")


class Runner:
    """Runs blocks; Python blocks share their variables."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self._variables: dict[str, Any] = {"__name__": "page"}

    def run(self, block: Block, shown: str = "") -> None:
        """Run a block; one that fails must print what the next block shows."""
        if block.title:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile("\n" * block.line + block.text, block.where, "exec"), self._variables)
        elif block.language in ("sh", "setup"):
            self._run_commands(block, shown)

    def _run_commands(self, block: Block, shown: str) -> None:
        *first, last = commands(block.text)
        for command in first:
            self._succeed(block, command)
        if "fails" not in block.comments:
            self._succeed(block, last)
            return
        code, said = self._call(last, block.comments.get("with", ""))
        assert code not in (0, None), f"{block.where}: did not fail"
        assert_shows(said, shown, block.where)

    def _succeed(self, block: Block, command: str) -> None:
        code, said = self._call(command, block.comments.get("with", ""))
        assert code == 0, f"{block.where}: exit code {code}\n{command}\n{said[-3000:]}"

    def _call(self, command: str, extra: str) -> tuple[int, str]:
        """Run a command; return its exit code and its output."""
        words, target = redirection(command)
        if words[0] != "gpt-lightning" or "|" in words or "<" in words:
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
            environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
            script = f"set -eo pipefail; {command}"
            done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=False)
            return done.returncode, done.stdout + done.stderr
        self._capsys.readouterr()
        code = call(shortened(words[1:], extra))
        out, err = self._capsys.readouterr()
        if target:
            Path(target).expanduser().write_text(out, encoding="utf-8")
        return code, out + err


def call(arguments: list[str]) -> int:
    """Run ``gpt-lightning`` in this process."""
    # Messages begin with the name of the program.
    with mock.patch.object(sys, "argv", ["gpt-lightning"]), without_seed():
        try:
            return main(arguments)
        except SystemExit as error:
            return int(error.code or 0)


@contextlib.contextmanager
def without_seed() -> Iterator[None]:
    """Keep ``seed_everything`` from setting the seed of later runs."""
    try:
        yield
    finally:
        os.environ.pop("PL_GLOBAL_SEED", None)


def commands(text: str) -> list[str]:
    """Return the commands of a shell block, one each, without comments."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def redirection(command: str) -> tuple[list[str], str]:
    """Return the words of a command and the file that its output goes to, if any."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="<>|")
    lexer.whitespace_split = True
    words = list(lexer)
    if ">" not in words:
        return words, ""
    place = words.index(">")
    return words[:place] + words[place + 2 :], words[place + 1]


def shortened(arguments: list[str], extra: str = "") -> list[str]:
    """Return a command's arguments with flags that keep it short; those that it has already stay."""
    name = arguments[0]
    if any(argument in ("-h", "--print_config") or argument.endswith("help") for argument in arguments):
        return arguments
    flags = shlex.split(_SHORT.get(name, ""))
    if name == "fit" and not any(_HAS_SHAPE.match(argument) for argument in arguments):
        flags += shlex.split(_TINY)
    given = {argument.partition("=")[0] for argument in arguments}
    extra_flags = shlex.split(extra)
    given |= {flag.partition("=")[0] for flag in extra_flags}
    return [*arguments, *(flag for flag in flags if flag.partition("=")[0] not in given), *extra_flags]


def assert_shows(said: str, shown: str, where: str) -> None:
    """Check that a page shows what a command said; ``...`` on the page stands for any text."""
    assert shown.strip(), f"{where}: the next block shows no message"
    place, flat = 0, " ".join(said.split())
    for part in re.split(r"\.\.\.|…", " ".join(shown.split())):
        found = flat.find(part.strip(), place)
        assert found >= 0, f"{where}: the page shows {part.strip()!r}, but the command says\n{said[-2000:]}"
        place = found + len(part.strip())
