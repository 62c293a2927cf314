"""The counter of commands that write to a file or a pipe."""

import os
import pty
import re
import sys
from typing import TextIO

import pytest

from gpt_lightning.commands.counter import counter


def count(total: int | None = None, prints: bool = True) -> None:
    with counter("generating", "characters", total=total, prints=prints) as advance:
        advance(1200, 1)
        advance(34, 1)


def read_until_end(parent: int, terminal: TextIO) -> str:
    terminal.write("end")
    terminal.flush()
    shown = ""
    while not shown.endswith("end"):
        shown += os.read(parent, 65536).decode()
    return shown.removesuffix("end")


def test_only_a_terminal_shows_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    count()
    assert capsys.readouterr() == ("", ""), "standard error is no terminal"
    parent, child = pty.openpty()
    with os.fdopen(child, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        count()
        assert "generating: 1,234 characters" in read_until_end(parent, terminal)
        assert capsys.readouterr().out == ""
        monkeypatch.setattr(sys, "stdout", terminal)
        count()
        assert read_until_end(parent, terminal) == "", "a terminal shows the text itself"
        count(total=4, prints=False)
        drawn = re.sub(r"\x1b\[[\d;?]*\w", "", read_until_end(parent, terminal))
        assert re.search(r"generating: 1,234 characters ━+╸━+ 0:00:0\d", drawn), "the text goes to a file"
    os.close(parent)
