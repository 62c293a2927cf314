"""Results of ``predict``, ``export`` and other commands: whole or absent, and never over existing files unless told."""

import errno
import itertools
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as L
import pytest
import torch
from torch.utils.data import DataLoader

from gpt_lightning.atomic_files import atomic_folder, atomic_write
from gpt_lightning.cli import main
from gpt_lightning.errors import InputError, RunError
from gpt_lightning.output_files import output_file, output_folder, replace_non_finite
from gpt_lightning.tasks.export import export_task
from gpt_lightning.tasks.load import load_task
from gpt_lightning.tokenizers.build import bytes_tokenizer
from gpt_lightning.training import PredictionWriter
from tests.commands.run.test_cli import Run, fit, run
from tests.reliability.conftest import many, tally
from tests.runs import causal_lm, trainer

__all__ = ["run"]

pytestmark = [pytest.mark.reliability, pytest.mark.skipif(os.name != "posix", reason="the tests fork and kill")]

NUM_ROWS = 13
CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}
"""Audit events of Python before each change of a file or folder."""


class Rows(L.LightningModule):
    """Module whose predictions are rows with a number, from one value that they all hold."""

    def __init__(self, value: float = 0.0, fails_at: int | None = None, error: type[BaseException] = RunError) -> None:
        super().__init__()
        self.value, self.fails_at, self.error = value, fails_at, error

    def predict_step(self, batch: torch.Tensor, batch_idx: int) -> list[dict[str, Any]]:
        if batch_idx == self.fails_at:
            raise self.error("stopped")
        return [{"id": int(each), "value": self.value} for each in batch]


def predict(path: Path, module: L.LightningModule, overwrite: bool = True) -> None:
    """Write ``NUM_ROWS`` predictions in batches of three rows."""
    writer = PredictionWriter(str(path), overwrite)
    loader: DataLoader[int] = DataLoader(range(NUM_ROWS), batch_size=3)  # type: ignore[arg-type]
    trainer(path.parent, callbacks=[writer]).predict(module, loader, return_predictions=False)


def values(path: Path) -> set[float]:
    """Return the values in a file of predictions, which must hold every row once."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["id"] for row in rows] == list(range(NUM_ROWS))
    return {row["value"] for row in rows}


def fork(function: Callable[[], object]) -> int:
    """Call ``function`` in a forked process and return its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        function()
        code = 0
    finally:
        os._exit(code)


def wait(pid: int) -> int:
    """Wait for a process and return its exit code, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_at_change(number: int, folder: Path) -> None:
    """Kill this process before its change ``number`` of a file below ``folder``, counted from 0."""
    numbers = itertools.count()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES or (event == "open" and not isinstance(arguments[0], str)):
            return
        is_write = event != "open" or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if is_write and str(arguments[0]).startswith(str(folder)) and next(numbers) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def kills(function: Callable[[], object], folder: Path, limit: int) -> Iterator[bool]:
    """Call ``function`` in one process after another, each killed at a later change, and yield whether it was killed.

    Args:
        function: function that writes below ``folder``.
        folder: folder of the result.
        limit: number of kills, spread evenly over all changes.
    """

    def killed(number: int) -> None:
        kill_at_change(number, folder)
        function()

    total = next(number for number in itertools.count(1, 8) if wait(fork(lambda: killed(number))) == 0)  # noqa: B023
    yield False
    for number in sorted({round(index * (total - 1) / (limit - 1)) for index in range(limit)}):
        yield wait(fork(lambda: killed(number))) != 0  # noqa: B023


def leftovers(folder: Path) -> list[str]:
    """Return the names of the hidden files and folders in ``folder``."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_killed_predict_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    predict(path, Rows(1.0))
    num_unfinished = 0
    for was_killed in kills(lambda: predict(path, Rows(2.0)), tmp_path, many(8, 60)):
        num_unfinished += bool(leftovers(tmp_path))
        tally("R21", values(path) == ({1.0} if was_killed else {2.0}) or (was_killed and values(path) == {2.0}))
        predict(path, Rows(1.0))
        assert values(path) == {1.0}
        assert not leftovers(tmp_path)
    assert num_unfinished


def test_killed_export_is_whole_or_absent(tmp_path: Path) -> None:
    task, tokenizer, folder = causal_lm(), bytes_tokenizer(), tmp_path / "model"

    def export() -> None:
        export_task(task, tokenizer, tmp_path, folder)

    export()
    names = sorted(path.name for path in folder.iterdir())
    expected = load_task(folder)[0].state_dict()
    remove(folder)
    num_unfinished = 0
    for was_killed in kills(export, tmp_path, many(12, 60)):
        num_unfinished += bool(leftovers(tmp_path))
        if not folder.exists():
            assert was_killed
            export()
        assert not leftovers(tmp_path)
        found = load_task(folder)[0].state_dict()
        is_whole = all(found[name].equal(value) for name, value in expected.items() if value is not None)
        tally("R21", is_whole and sorted(path.name for path in folder.iterdir()) == names)
        remove(folder)
    assert num_unfinished


def remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


@pytest.mark.parametrize("error", [RunError, InputError, ZeroDivisionError, KeyboardInterrupt])
def test_failing_predict_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "predictions.jsonl"
    predict(path, Rows(1.0))
    with pytest.raises((error, SystemExit)):
        predict(path, Rows(2.0, fails_at=3, error=error))
    tally("R21", values(path) == {1.0} and not leftovers(tmp_path))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_output_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / "predictions.jsonl"
    predict(path, Rows(1.0))
    with pytest.raises(RunError, match=r"not finite \(NaN or infinity\) near row 0\. .* use an earlier checkpoint"):
        predict(path, Rows(value))
    tally("R21", values(path) == {1.0})


def test_two_predictions_to_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    for _ in range(many(2, 20)):
        pids = [fork(lambda value=value: predict(path, Rows(value))) for value in (1.0, 2.0)]  # type: ignore[misc]
        assert [wait(pid) for pid in pids] == [0, 0]
        tally("R21", values(path) in ({1.0}, {2.0}) and not leftovers(tmp_path))


def test_two_exports_to_one_folder_do_not_mix(tmp_path: Path) -> None:
    def write(value: str) -> None:
        with output_folder(tmp_path / "model") as unfinished:
            for name in "abc":
                (unfinished / name).write_text(value)

    for number in range(many(5, 50)):
        codes = [wait(pid) for pid in [fork(lambda value=value: write(value)) for value in "12"]]  # type: ignore[misc]
        written = {path.read_text() for path in (tmp_path / "model").iterdir()}
        tally("R21", 0 in codes and len(written) == 1 and not leftovers(tmp_path))
        (tmp_path / "model").rename(tmp_path / f"model_{number}")


def test_files_of_living_processes_are_not_swept(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    reader, writer = os.pipe()

    def write_until_told() -> None:
        with atomic_write(path) as file:
            file.write(b"first")
            os.write(writer, b"x")
            signal.pause()

    pid = fork(write_until_told)
    os.read(reader, 1)
    with atomic_write(path) as file:
        file.write(b"second")
    alive = leftovers(tmp_path)
    os.kill(pid, signal.SIGKILL)
    wait(pid)
    with atomic_write(path) as file:
        file.write(b"third")
    tally("R21", alive == [f".a.txt.{pid}.unfinished"] and not leftovers(tmp_path))
    os.close(reader)
    os.close(writer)


def test_a_folder_of_a_killed_process_is_swept(tmp_path: Path) -> None:
    folder = tmp_path / "model"

    def die() -> None:
        with atomic_folder(folder) as unfinished:
            (unfinished / "part").mkdir()
            (unfinished / "part/a").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    wait(fork(die))
    (tmp_path / ".model.abc.unfinished").touch()  # the user's own: it has no process id
    assert len(leftovers(tmp_path)) == 2
    with atomic_folder(folder) as unfinished:
        (unfinished / "b").touch()
    tally("R21", leftovers(tmp_path) == [".model.abc.unfinished"] and [each.name for each in folder.iterdir()] == ["b"])


@pytest.mark.parametrize("kind", ["file", "full", "working directory"])
def test_a_taken_folder_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    if kind == "file":
        folder.touch()
    elif kind == "full":
        (folder / "mine").mkdir(parents=True)
    else:
        folder.mkdir()
        monkeypatch.chdir(folder)
    reason = "is the working directory" if kind == "working directory" else "already exists"
    with pytest.raises(InputError, match=rf"model {reason}.* Choose a new folder"), output_folder(folder):
        pass
    tally("R21", folder.exists())


def test_an_empty_folder_and_a_link_to_one_are_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    with output_folder(tmp_path / "link") as unfinished:
        (unfinished / "a").touch()
    tally("R21", (tmp_path / "empty/a").exists() and (tmp_path / "link").is_symlink())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("taken", r"taken already exists\. Remedy, or add --overwrite"),
        ("absent/file", r"the folder .*absent does not exist\. Create it first"),
        ("folder", r"folder is a folder, but a file is to be written\. Remedy"),
        ("/sys/new", r"cannot write /sys/new: .*\. Remedy"),
    ],
)
def test_an_unsuitable_file_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=message), output_file(tmp_path / name, False, "Remedy"):
        pass
    tally("R21", (tmp_path / "taken").read_text() == "mine")


def test_devices_and_links_are_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    with output_file(tmp_path / "link", False, "Remedy") as file:
        file.write(b"text")
    assert (tmp_path / "target").read_bytes() == b"text"
    with output_file(Path("/dev/null"), False, "Remedy") as file:
        file.write(b"text")
    with (
        pytest.raises(RunError, match=r"cannot write /dev/full: .* \(ENOSPC\)\. Free some space, or choose"),
        output_file(Path("/dev/full"), False, "Choose another file") as file,
    ):
        file.write(b"text")
    tally("R21", Path("/dev/null").is_char_device() and Path("/dev/full").is_char_device())


def test_standard_output_may_be_a_file(tmp_path: Path) -> None:
    code = "from gpt_lightning.output_files import output_file as o; from pathlib import Path\n"
    code += "with o(Path('/dev/stdout'), False, 'Remedy') as file: file.write(b'text')"
    (tmp_path / "out").write_text("old ")
    with (tmp_path / "out").open("ab") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    tally("R21", (tmp_path / "out").read_text() == "old text")


def test_json_has_no_nan() -> None:
    assert replace_non_finite({"a": [math.nan, (1.0, -math.inf)], "b": {"c": math.inf}}) == {
        "a": [None, [1.0, None]],
        "b": {"c": None},
    }


@pytest.fixture
def rows(run: Run, tmp_path: Path) -> Path:
    """Return the run folder of a language model, and write a file of texts to ``rows.jsonl``."""
    fit(run)
    (tmp_path / "rows.jsonl").write_text('{"text": "beer"}\n' * 3)
    return Path("logs/beer/version_0")


def test_predict_overwrites_only_when_told(run: Run, rows: Path, tmp_path: Path) -> None:
    short = ("predict", f"--model={rows}", "--input=rows.jsonl", "--output=out.jsonl", "--data.cache_dir=cache")
    long = ("predict", "-c", "config.yaml", f"--ckpt_path={rows}", "--data.test=rows.jsonl")
    for arguments, name in ((short, "out.jsonl"), (long, "predictions.jsonl")):
        (tmp_path / name).write_text("mine")
        code, _, err = run(*arguments)
        assert f"{name} already exists. Choose another file with --output or --predictions.path, or add --over" in err
        tally("R21", code == 2 and (tmp_path / name).read_text() == "mine")
        code, _, err = run(*arguments, "--overwrite")
        assert (code, (tmp_path / name).read_text().count("nll")) == (0, 2), err


def test_predict_never_replaces_its_rows(run: Run, rows: Path, tmp_path: Path) -> None:
    before = (tmp_path / "rows.jsonl").read_bytes()
    short = ("predict", f"--model={rows}", "--input=rows.jsonl", "--output=./rows.jsonl", "--overwrite")
    long = ("predict", "-c", "config.yaml", f"--ckpt_path={rows}", "--predictions.path=rows.jsonl", "--overwrite")
    for arguments in (short, (*long, "--data.test=[rows.jsonl]")):
        code, _, err = run(*arguments)
        tally("R21", code == 2 and (tmp_path / "rows.jsonl").read_bytes() == before)
        assert "rows would be lost. Choose another file" in err


def test_a_configuration_chooses_no_file_to_write(run: Run, rows: Path, tmp_path: Path) -> None:
    config, other = (tmp_path / "config.yaml").read_text(), tmp_path / "other.yaml"
    long = ("predict", "-c", "other.yaml", f"--ckpt_path={rows}", "--data.test=rows.jsonl")
    for lines, message in (
        (f"predictions: {{path: {tmp_path}/bashrc}}", "is neither in log_dir nor in the cache. Give it on the command"),
        ("predictions: {path: logs/../bashrc}", "is neither in log_dir nor in the cache"),
        ("log_dir: .\npredictions: {path: ./bashrc}", "is neither in log_dir nor in the cache"),
        ("predictions: {overwrite: true}", "predictions.overwrite is allowed on the command line only"),
    ):
        other.write_text(f"{config}\n{lines}\n")
        code, _, err = run(*long)
        assert f"other.yaml: predictions.{'overwrite' if 'overwrite' in lines else 'path'}" in err
        assert message in err
        tally("R21", code == 2 and not (tmp_path / "bashrc").exists())
    (tmp_path / "values.yaml").write_text("path: bashrc\n")
    code, _, err = run(
        "predict", "-c", "config.yaml", f"--ckpt_path={rows}", "--data.test=rows.jsonl", "--predictions=values.yaml"
    )
    tally("R21", code == 2 and not (tmp_path / "bashrc").exists())
    other.write_text(f"{config}\npredictions: {{path: logs/mine.jsonl}}\n")
    assert run(*long)[0] == 0
    assert (tmp_path / "logs/mine.jsonl").read_text().count("nll") == 2


def test_step_record_appends_to_its_own_files_only(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    name = "gpt_lightning.training.StepRecord"
    recorder = f"{{class_path: {name}, init_args: {{path: mine.txt}}}}"
    code, _, err = run("fit", "-c", "config.yaml", f"--trainer.callbacks={recorder}", f"--allow_import={name}")
    assert "StepRecord: mine.txt already exists. Choose another file" in err
    tally("R21", code == 2 and (tmp_path / "mine.txt").read_text() == "mine")


def limited(arguments: list[str], size: int) -> tuple[int, str]:
    """Run a command that can write at most ``size`` bytes to a file; return its exit code and standard error."""
    reader, writer = os.pipe()

    def command() -> NoReturn:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        os.dup2(writer, 2)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        code = main(arguments)
        sys.stderr.flush()
        os._exit(code)

    pid = fork(command)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        err = pipe.read()
    return wait(pid), err


LIMITED = {
    "logs/beer/version_0/config.yaml": (2000, "fit -c config.yaml --resume=auto --trainer.max_steps=6"),
    # The events of TensorBoard, which a thread writes.
    "logs/beer/events": (
        6500,
        "fit -c config.yaml --name=events --trainer.max_steps=200 --trainer.limit_val_batches=0",
    ),
    "logs/beer/version_0/metrics.json": (
        100,
        "test -c config.yaml --ckpt_path=logs/beer/version_0 --data.test=rows.jsonl",
    ),
    "cache/tokens": (2000, "test -c config.yaml --ckpt_path=logs/beer/version_0 --data.test=many.jsonl"),
    "out.jsonl": (
        3000,
        "predict --model=logs/beer/version_0 --input=many.jsonl --output=out.jsonl --data.cache_dir=cache",
    ),
    "model": (2000, "export logs/beer/version_0 model"),
    "tokenizer.json": (2000, "tokenizer train --train text.txt --vocab_size 300 --output tokenizer.json"),
    "toy": (2000, "toy-world toy"),
}
"""Place in the message -> maximum size of a file in bytes, and a command."""


@pytest.mark.usefixtures("rows")
def test_full_disk_ends_each_command_with_a_message(run: Run, tmp_path: Path) -> None:
    """Test R5 and R21. A limit of the size of files acts like a full disk."""
    (tmp_path / "many.jsonl").write_text('{"text": "beer"}\n' * 400)
    assert run(*LIMITED["logs/beer/version_0/metrics.json"][1].split())[0] == 0  # fills the cache
    (tmp_path / "logs/beer/version_0/metrics.json").unlink()
    checkpoints = tmp_path / "logs/beer/version_0/checkpoints"
    before = {path: path.read_bytes() for path in checkpoints.iterdir()}
    for place, (size, arguments) in LIMITED.items():
        code, err = limited(arguments.split(), size)
        assert re.search(rf"cannot write \S*{place}\S*: {os.strerror(errno.EFBIG)} \(EFBIG\)\. ", err), (place, err)
        assert "Traceback" not in err
        tally("R21", code == 1 and not any((tmp_path / name).exists() for name in ("out.jsonl", "model", "toy")))
        if place == "cache/tokens":
            run(*arguments.split())  # predict finds its rows in the cache
    tally("R5", before == {path: path.read_bytes() for path in checkpoints.iterdir()})
