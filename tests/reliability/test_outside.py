"""Failures outside of a run, such as full disks and killed workers, and the run's use of the network."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest

from gpt_lightning.tasks.load import find_checkpoint, load_task
from tests.reliability.conftest import many, tally
from tests.reliability.processes import CONFIG, Run, children, finish, rows, state, steps
from tests.reliability.test_kill import prepare
from tests.runs import write_text

pytestmark = pytest.mark.reliability

ROW_LOG = "class_path: tests.reliability.processes.RowLog"


class FillDisk(L.Callback):
    """Callback that fills the disk before the sixth step."""

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == 5:
            with Path("filler").open("wb", buffering=0) as file:
                for size in (1 << 16, 1):
                    try:
                        while True:
                            file.write(bytes(size))
                    except OSError:
                        pass


def run_on_small_disk(folder: Path, megabytes: int, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in ``folder``, on which a small temporary disk is mounted."""
    mount = f"mount -t tmpfs -o size={megabytes}m none {folder} && cd {folder} && {script}"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )


def test_full_disk(tmp_path: Path) -> None:
    """Test R5. The run reports the full disk, exits with 1, and keeps its checkpoints."""
    filling = CONFIG.replace(ROW_LOG, "class_path: tests.reliability.test_outside.FillDisk")
    disk, data_folder = tmp_path / "disk", prepare(tmp_path, "data_folder", filling)
    disk.mkdir()
    if shutil.which("unshare") is None or run_on_small_disk(disk, 1, "true").returncode != 0:
        pytest.skip("this system does not allow users to mount a small disk")
    command = f"{sys.executable} -m gpt_lightning fit -c {data_folder}/config.yaml --allow_import=tests"
    command += f" --data.cache_dir={data_folder}/cache"
    command += f" --data.train={data_folder}/text.txt --data.validation={data_folder}/text.txt"
    command += " --trainer.max_steps=9"
    listing = "ls -a logs/run/version_0/checkpoints; grep file logs/run/version_0/checkpoints/manifest.json"
    result = run_on_small_disk(
        disk,
        4,
        f"{command}; echo code $?; {listing}; rm filler; "
        f"{command} --trainer.callbacks=[] --resume=auto && echo second run succeeded; {listing}",
    )
    assert "code 1" in result.stdout, result.stderr
    assert "No space left on device (ENOSPC). Earlier checkpoints are intact" in result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    first, _, second = result.stdout.partition("resumed from logs/run/version_0/checkpoints/step_3.ckpt")
    assert '"file": "step_3.ckpt"' in first
    assert "unfinished" not in first
    tally("R5", "second run succeeded" in second and '"file": "step_9.ckpt"' in second)


def test_killed_data_loader_worker(tmp_path: Path) -> None:
    """Test R15."""
    uninterrupted = prepare(tmp_path, "uninterrupted")
    write_text(uninterrupted, repeats=400)  # long epochs, so that the kill comes within one
    finish(uninterrupted, "--data.num_workers=2")
    rng = random.Random(0)
    for number in range(many(1, 5)):
        folder = prepare(tmp_path, f"run_{number}")
        write_text(folder, repeats=400)
        run = Run(folder, "--data.num_workers=2", "--trainer.callbacks+=tests.reliability.processes.SlowSteps")
        assert run.wait_for_rows(rng.randrange(4, 50)), run.err.read_text()
        os.kill(children(run.process.pid or 0)[0], signal.SIGKILL)
        code = run.end(60.0)
        err = run.err.read_text()
        assert "of the data loader has died" in err, err  # a worker, or the process that starts the workers
        assert "Traceback" not in err
        finish(folder, "--data.num_workers=2", "--resume=auto")
        same = state(folder / "logs/run/version_0") == state(uninterrupted / "logs/run/version_0")
        tally("R15", (code, same, rows(folder)) == (1, True, rows(uninterrupted)))


@pytest.mark.parametrize("option", ["--data.num_workers=0", "--data.num_workers=2", "--trainer.strategy=ddp"])
def test_training_on_one_device_opens_no_internet_socket(tmp_path: Path, option: str) -> None:
    """Test R17."""
    run = Run(prepare(tmp_path, "run"), option, "--trainer.max_steps=100000")
    num_checks = 0
    while num_checks < many(20, 200):
        assert run.process.is_alive(), run.err.read_text()
        assert not sockets_of(run)
        num_checks += bool(steps(tmp_path / "run/logs/run/version_0"))
        time.sleep(0.01)
    run.kill()
    tally("R17", True)


def test_training_on_two_devices_uses_loopback_only(tmp_path: Path) -> None:
    """Test R17, from the start of the processes on."""
    run = Run(prepare(tmp_path, "run"), "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_steps=9")
    seen = set()
    while run.process.is_alive():
        seen |= {line.split()[1].partition(":")[0] for line in sockets_of(run)}
        time.sleep(0.01)
    assert run.end() == 0, run.err.read_text()
    tally("R17", bool(seen) and seen <= LOOPBACK)


def test_other_commands_open_no_internet_socket(tmp_path: Path) -> None:
    """Test R17."""
    folder = prepare(tmp_path, "run")
    finish(folder, "--trainer.max_steps=3", "--data.test=text.txt")
    for command, arguments in list(OFFLINE_COMMANDS.items())[: many(4, 8)]:
        run = Run(folder, *arguments, command=command, config="")
        while run.process.is_alive():
            assert not sockets_of(run), command
            time.sleep(0.002)
        assert run.end() == 0, run.err.read_text()
        tally("R17", True)


TEST = ("-c", "logs/run/version_0/config.yaml", "--ckpt_path=logs/run/version_0", "--allow_import=tests")
OFFLINE_COMMANDS = {
    "test": (*TEST, "--trainer.strategy=ddp"),
    "predict": ("--model", "logs/run/version_0", "--input", "text.txt"),
    "generate": ("logs/run/version_0", "--prompt", "bottle", "--max_new_tokens", "4"),
    "export": ("logs/run/version_0", "exported"),
    "validate": TEST,
    "evaluate": ("logs/run/version_0", "--allow_import=tests"),
    "init": ("pretrain", "--train", "text.txt"),
    "tokenizer": ("train", "--train", "text.txt", "--vocab_size", "300"),
}
"""Command -> arguments of a use that needs nothing from the internet."""

LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
"""The addresses 127.0.0.1, ::1 and ::ffff:127.0.0.1 in the kernel's tables."""


def sockets_of(run: Run) -> list[str]:
    """Return the internet sockets of all processes of a run."""
    pid = run.process.pid or 0
    pids = [pid, *descendants(pid)]
    return [line for each in pids for line in internet_sockets(each)]


def descendants(pid: int) -> list[int]:
    """Return the ids of the child processes of ``pid`` and of their children."""
    try:
        own = children(pid)
    except OSError:  # the process has ended
        return []
    return own + [each for child in own for each in descendants(child)]


def internet_sockets(pid: int) -> list[str]:
    """Return the lines in the kernel's tables of internet sockets that belong to process ``pid``."""
    inodes = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                inodes.add(target.removeprefix("socket:[").removesuffix("]"))
        tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6", "udp", "udp6")]
    except OSError:  # the process has ended
        return []
    lines = [line.split() for table in tables for line in table.splitlines()[1:]]
    return [" ".join(line) for line in lines if line[9] in inodes]


def test_uninterrupted_run_is_loadable(tmp_path: Path) -> None:
    """Check the uninterrupted run that other tests compare with."""
    folder = prepare(tmp_path, "run")
    finish(folder)
    load_task(find_checkpoint(str(folder / "logs/run/version_0")))
