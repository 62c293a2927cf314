"""Status lines of work that takes a while."""

import gzip
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpt_lightning import cli
from gpt_lightning.data.sources.open_file import open_file, reported_reading
from gpt_lightning.status import progress, show_status, status


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_only_long_work_of_a_command_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with show_status(), status("Reading", seconds=0.01), status("Building", seconds=60.0):
        time.sleep(0.2)
    assert lines(capsys) == ["Reading ..."]
    with status("Reading", seconds=0.01):
        time.sleep(0.2)
    assert lines(capsys) == [], "a library prints nothing"
    monkeypatch.setenv("LOCAL_RANK", "1")
    with show_status(), status("Reading", seconds=0.01):
        time.sleep(0.2)
    assert lines(capsys) == [], "the first rank has said it"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--help"], True),
        (["-c", "a.yaml", "--print_config"], True),
        (["--print_config=skip_default"], True),
        (["--model.help", "CausalLM"], True),
        (["-c", "a.yaml", "--name=help"], False),
    ],
)
def test_help_needs_no_status(arguments: list[str], expected: bool) -> None:
    assert cli._only_prints(arguments) == expected


def test_loading_is_shown(tmp_path: Path) -> None:
    """The import is slow enough where lines appear at once."""
    program = (
        "import gpt_lightning.status as s, sys; s.status.__wrapped__.__defaults__ = (0.05,)\n"
        "from gpt_lightning.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    (tmp_path / "empty.yaml").write_text("{}")
    for arguments, count in ((["fit", "-c", "empty.yaml"], 1), (["fit", "--help"], 0)):
        done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.stderr.count("Loading PyTorch and Lightning ...\n") == count, done.stderr


def test_a_bar_with_the_time_left_appears_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(seconds: float) -> None:
        with show_status(), progress("Reading", 10, seconds=seconds) as advance:
            for _ in range(10):
                advance(1)
                time.sleep(0.02)

    work(0.05)
    assert lines(capsys) == ["Reading ..."], "no terminal"
    parent, child = pty.openpty()
    with os.fdopen(child, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        work(60.0)
        work(0.0)
        terminal.write("end")
        terminal.flush()
        drawn = ""
        while not drawn.endswith("end"):
            drawn += os.read(parent, 65536).decode()
    os.close(parent)
    assert "Reading" in drawn
    assert " 10%" in drawn
    assert "-:--:--" in drawn, "the time left, which is unknown at first"


def test_reading_reports_the_bytes_on_disk(tmp_path: Path) -> None:
    content = b"some text, again and again\n" * 100_000
    for name, data in (("plain.txt", content), ("packed.txt.gz", gzip.compress(content))):
        path = tmp_path / name
        path.write_bytes(data)
        sizes: list[int] = []
        with reported_reading(sizes.append):
            with open_file(path, is_reported=True) as stream:
                assert stream.read() == content
            with open_file(path) as stream:
                assert stream.read(4) == content[:4]
        assert sum(sizes) == len(data), "only reported reading counts"
