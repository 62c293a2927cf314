"""Run folders: exclusive to one run, and checked for write permission and disk space at the start."""

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from gpt_lightning.checkpoints.run_folder import claim, make_folder
from gpt_lightning.errors import InputError
from gpt_lightning.training.checkpoint_callback import check_room
from tests.commands.run.test_cli import Run, run
from tests.reliability import processes
from tests.reliability.conftest import many, tally
from tests.reliability.test_kill import prepare
from tests.runs import causal_lm

__all__ = ["run"]

pytestmark = pytest.mark.reliability


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below ``folder``."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_runs_that_start_at_the_same_time_get_different_folders(tmp_path: Path) -> None:
    for number in range(many(1, 5)):
        folder = prepare(tmp_path, f"pair_{number}")
        pair = [processes.Run(folder, "--trainer.max_steps=6", "--trainer.callbacks=[]") for _ in range(2)]
        codes = [each.end() for each in pair]
        versions = {path.name for path in (folder / "logs/run").iterdir()}
        assert codes == [0, 0], (folder / "err.txt").read_text()
        tally("R11", versions == {"version_0", "version_1"})


def test_run_is_locked_by_one_process(tmp_path: Path) -> None:
    folder = prepare(tmp_path, "run")
    processes.finish(folder, "--trainer.max_steps=6")
    first = processes.Run(folder, "--resume=auto", "--trainer.max_steps=100000")
    assert first.wait_for_step(9)
    before = contents(folder / "logs/run/version_0")
    second = processes.Run(folder, "--resume=auto", "--trainer.max_steps=200")
    assert second.end() == 2
    assert "logs/run/version_0: another process uses this folder" in second.err.read_text()
    first.kill()
    settings = {name: data for name, data in before.items() if name.startswith(("config", "tokenizer", "hparams"))}
    after = contents(folder / "logs/run/version_0")
    tally("R11", all(after[name] == data for name, data in settings.items()))
    last = processes.steps(folder / "logs/run/version_0")[-1]
    processes.finish(folder, "--resume=auto", f"--trainer.max_steps={last + 3}")


def test_a_killed_process_releases_its_lock_before_its_workers_end(tmp_path: Path) -> None:
    """R11: forked workers live a little longer than their killed parent."""
    context = multiprocessing.get_context("fork")
    parent_end, child_end = context.Pipe()
    process = context.Process(target=hold_with_worker, args=(tmp_path / "run", child_end))
    process.start()
    worker = parent_end.recv()
    with (
        pytest.raises(InputError, match="another process uses this folder"),
        claim(tmp_path / "run", is_resumed=True),
    ):
        pass
    process.kill()
    process.join()
    with claim(tmp_path / "run", is_resumed=True):
        os.kill(worker, 0)  # still alive
    os.kill(worker, signal.SIGKILL)
    tally("R11", True)


def hold_with_worker(folder: Path, connection: Connection) -> None:
    """Claim a folder, and start a worker that outlives this process."""
    with claim(folder, is_resumed=False):
        worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60.0,))
        worker.start()
        connection.send(worker.pid)
        time.sleep(60.0)


@pytest.mark.parametrize("where", ["file", "/proc/none", "read-only"])
def test_folder_without_write_permission_is_refused(run: Run, tmp_path: Path, where: str) -> None:
    """Test R12."""
    if where == "read-only" and os.geteuid() == 0:
        pytest.skip("root can write to read-only folders; run the tests as another user")
    target = tmp_path / "target" if where != "/proc/none" else Path(where)
    if where == "file":
        target.touch()
    elif where == "read-only":
        target.mkdir(mode=0o500)
    code, out, err = run("fit", "-c", "config.yaml", f"--log_dir={target}")
    assert f"cannot write to {target}" in err
    tally("R12", code == 2 and "step" not in out and len(err.splitlines()) == 1)


def test_disk_without_space_for_two_checkpoints_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    module = causal_lm()
    size = 12 * sum(parameter.numel() for parameter in module.parameters())
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * size))
    check_room(tmp_path, module)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * size - 1))
    with pytest.raises(InputError, match=r"MB are free, but 2 checkpoints of 0 MB must fit\. Free some space, or"):
        check_room(tmp_path, module)
    tally("R12", True)


def test_concurrent_checks_of_write_permission(tmp_path: Path) -> None:
    """Test R11. Each process checks write permission with a file of its own."""
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(check_repeatedly, [tmp_path / "runs"] * 4) == [None] * 4


def check_repeatedly(folder: Path) -> None:
    """Check write permission many times, so that the processes overlap."""
    for _ in range(500):
        make_folder(folder)
