"""Output of commands to pipes without a reader, full disks and closed standard streams."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

from gpt_lightning import cli
from gpt_lightning.commands.output import Output, OutputClosedError
from tests.reliability.conftest import tally
from tests.reliability.processes import CONFIG
from tests.runs import write_text


def broken_pipe() -> TextIO:
    """Return a line-buffered stream to a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", buffering=1)


def full_disk() -> TextIO:
    return open("/dev/full", "w", buffering=1)  # noqa: PTH123


STREAMS = [broken_pipe, full_disk]


@pytest.fixture(params=STREAMS)
def stream(request: pytest.FixtureRequest) -> Iterator[TextIO]:
    opened: TextIO = request.param()
    yield opened
    opened.close()


def test_text_is_dropped_after_the_first_write_that_fails(stream: TextIO) -> None:
    output = Output(stream)
    assert output.write("a\n") == 2
    assert isinstance(output.failure, OSError)
    output.writelines(["b\n", "c\n"])
    output.flush()
    assert not output.isatty()


def test_a_command_that_only_prints_stops(stream: TextIO) -> None:
    output = Output(stream, stops=True)
    with pytest.raises(OutputClosedError):
        output.write("a\n")


@pytest.mark.reliability
@pytest.mark.parametrize("make", STREAMS)
def test_training_does_not_stop_without_a_reader(
    make: Callable[[], TextIO], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path)
    config = CONFIG.replace("callbacks: {class_path: tests.reliability.processes.RowLog}", "callbacks: null")
    (tmp_path / "config.yaml").write_text(config)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    with make() as stdout, make() as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", stderr)
        code = cli.main(["fit", "-c", "config.yaml", "--trainer.max_steps=4"])
    last = tmp_path / "logs/run/version_0/checkpoints/step_4.ckpt"
    tally("R19", code == 0 and last.is_file())


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("command", "code", "err"),
    [
        ("--help > /dev/full", 1, "gpt-lightning: cannot write to standard output: No space left on device\n"),
        ("fit --help >&-", 1, "gpt-lightning fit: cannot write to standard output: Bad file descriptor\n"),
        ("fit --help >&- 2>&- <&-", 1, ""),
        ("init --train=missing.csv > /dev/full 2>&-", 2, ""),
        (
            "tokenizer train --kind=bytes --train=text.txt --output=$FOLDER/tokenizer.json >&-",
            0,
            "gpt-lightning tokenizer: cannot write to standard output: Bad file descriptor\n",
        ),
    ],
)
def test_the_exit_code_tells_that_the_output_is_missing(tmp_path: Path, command: str, code: int, err: str) -> None:
    (tmp_path / "text.txt").write_text("one two")
    command = command.replace("text.txt", "$FOLDER/text.txt").replace("$FOLDER", str(tmp_path))
    script = f"exec {sys.executable} -m gpt_lightning {command}"
    result = subprocess.run(["sh", "-c", script], stderr=subprocess.PIPE, text=True, timeout=60)
    messages = [line for line in result.stderr.splitlines(keepends=True) if not line.endswith(" ...\n")]
    tally("R19", (result.returncode, "".join(messages)) == (code, err))
