"""Errors at the entry: exit codes, short messages, and the file with the traceback of a bug."""

import errno
import os
import tempfile
import threading
from pathlib import Path

import pytest

from gpt_lightning import cli
from gpt_lightning.errors import InputError, Interrupted, RunError
from tests.reliability.conftest import tally


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that takes the place of the folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class PanicError(BaseException):
    """Stand-in for the panic of a Rust library."""


class Unprintable(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise ValueError


def _cause(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("a.csv:3: empty. Fill it in"), 2, "a.csv:3: empty. Fill it in"),
        (_cause(TypeError("x"), InputError("a. Do b")), 2, "a. Do b"),
        (RunError("the loss is NaN"), 1, "the loss is NaN"),
        (MemoryError(), 1, "out of memory. Lower --data.batch_size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 1, "out of memory."),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.txt"), 2, "x.txt: No such file or directory."),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device. Free some space"),
        (OSError(errno.EMFILE, "Too many open files", "x"), 1, "x: Too many open files. Check"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), 2, "a path or a text has characters"),
        (RuntimeError("Symlink loop from '/a/b'"), 2, "Symlink loop from '/a/b'. Delete the link, or choose another"),
        (ValueError("embedded null byte"), 2, "a path or a text has characters that no file can have"),
        (KeyboardInterrupt(), 130, None),
        (Interrupted(15, between_steps=True), 143, None),
    ],
)
def test_errors_that_are_foreseen(
    error: BaseException,
    code: int,
    message: str | None,
    temp: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "_run", _raise(error))
    assert cli.main(["fit"]) == code
    err = capsys.readouterr().err
    assert err == "" if message is None else err.startswith(f"gpt-lightning fit: {message}")
    tally("R19", not list(temp.iterdir()))


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError("deep"), PanicError("boom\nmore"), AssertionError(), Unprintable()]
)
def test_a_bug_prints_three_lines_and_writes_its_traceback_to_a_new_file(
    error: BaseException, temp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_run", _raise(error))
    assert [cli.main(["fit"]), cli.main(["fit"])] == [1, 1]
    lines = capsys.readouterr().err.splitlines()
    files = sorted(temp.iterdir())
    assert len(lines) == 6
    assert len(files) == 2
    assert lines[0] == "gpt-lightning fit: stopped by an error that it does not handle."
    assert type(error).__name__ in lines[1]
    assert "test_failure.py:" in lines[1]
    assert "Traceback (most recent call last)" in files[0].read_text()
    tally(
        "R19",
        {f"  The traceback is in {file}." for file in files} == {line.partition(" If")[0] for line in lines[2::3]},
    )


def test_a_bug_without_a_folder_for_its_traceback(
    temp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_run", _raise(KeyError("x")))
    monkeypatch.setattr(tempfile, "tempdir", str(temp / "missing"))
    assert cli.main(["fit"]) == 1
    assert "Set TMPDIR and repeat" in capsys.readouterr().err


def test_an_error_in_a_thread_is_reported_and_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object) -> int:
        thread = threading.Thread(target=_raise(RunError("the writer has failed")))
        thread.start()
        thread.join()
        return 0

    monkeypatch.setattr(cli, "_run", run)
    before = threading.excepthook
    assert cli.main(["fit"]) == 1
    assert capsys.readouterr().err == "gpt-lightning fit: the writer has failed\n"
    assert threading.excepthook is before


class HalfBuilt:
    """Object whose constructor fails, so that its destructor fails, too."""

    def __init__(self) -> None:
        raise InputError("profiler: torch_xla is missing. Install it")

    def __del__(self) -> None:
        print(self.stage)  # type: ignore[attr-defined]


def test_the_destructor_of_an_object_whose_constructor_has_failed_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_run", lambda *_: HalfBuilt())
    assert cli.main(["fit"]) == 2
    assert capsys.readouterr().err == "gpt-lightning fit: profiler: torch_xla is missing. Install it\n"


def test_a_number_of_the_launcher_that_is_not_a_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, "LOCAL_RANK", "first")
    assert cli.main(["fit"]) == 2
    assert "the environment variable LOCAL_RANK is 'first', not a whole number. Unset it" in capsys.readouterr().err


def _raise(error: BaseException):  # type: ignore[no-untyped-def]
    def run(*_: object) -> int:
        raise error

    return run


def test_a_long_line_loses_its_middle(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "_run", _raise(InputError(f"--device {'x' * 9000} is unknown. Give cpu")))
    assert cli.main(["generate"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("gpt-lightning generate: --device xxx")
    assert err.endswith("xxx is unknown. Give cpu\n")
    assert len(err) < 1100
