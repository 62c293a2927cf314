"""SIGTERM and Ctrl-C at any moment of a run."""

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpt_lightning.errors import Interrupted
from gpt_lightning.training.interruption import Interruption
from tests.reliability.conftest import SOAK, many, tally
from tests.reliability.processes import CONFIG, Run, children, finish, rows, state, steps
from tests.reliability.test_kill import BIG, prepare
from tests.runs import write_text

pytestmark = pytest.mark.reliability

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
SLOW = CONFIG.replace(
    "callbacks: {class_path: tests.reliability.processes.RowLog}",
    "callbacks: [tests.reliability.processes.RowLog, tests.reliability.processes.SlowValidation]",
)


def interrupt(run: Run, signum: int) -> tuple[int, float]:
    """Send a signal; return the exit code and the seconds until the end."""
    begin = time.monotonic()
    run.send(signum)
    return run.end(30.0), time.monotonic() - begin


def pasted(said: str) -> list[str]:
    """Return the arguments of the command that an interrupted run printed."""
    words = shlex.split(said.splitlines()[-1])
    return words[words.index("fit") + 1 :]


@pytest.mark.parametrize(("signum", "code"), SIGNALS)
def test_in_a_step(tmp_path: Path, signum: int, code: int) -> None:
    straight = prepare(tmp_path, "straight")
    finish(straight)
    chance = random.Random(signum)
    for number in range(many(2, 10)):
        folder = prepare(tmp_path, f"run_{number}")
        run = Run(folder)
        moment = chance.randrange(1, 50)
        assert run.wait_for_rows(moment), run.err.read_text()
        ended, seconds = interrupt(run, signum)
        assert f"{signal.Signals(signum).name}: finishing the current step, then saving." in run.err.read_text()
        assert "Traceback" not in run.err.read_text()
        listed = steps(folder / "logs/run/version_0")
        done = len((folder / "rows.log").read_text().splitlines())
        assert listed[-1] == done, "the last finished step is saved"
        said = run.err.read_text()
        saved = f"logs/run/version_0/checkpoints/step_{done}.ckpt"
        assert f"Stopped after step {done}. Saved {saved}\nResume with:\n" in said
        finish(folder, *pasted(said), config="")
        assert len((folder / "rows.log").read_text().splitlines()) == 60, "no step was repeated"
        same = state(folder / "logs/run/version_0") == state(straight / "logs/run/version_0")
        tally("R7", (ended, same, rows(folder)) == (code, True, rows(straight)) and seconds < 10.0)


@pytest.mark.parametrize(("signum", "code"), SIGNALS)
def test_in_a_validation(tmp_path: Path, signum: int, code: int) -> None:
    """The validation ends at once and runs again on the resume, so the best checkpoint is the same."""
    straight = prepare(tmp_path, "straight")
    finish(straight)
    for number, validation in enumerate(range(1, 1 + many(1, 3))):
        folder = prepare(tmp_path, f"run_{number}", SLOW)
        run = Run(folder)
        if validation > 1:
            assert run.wait_for_step(20 * (validation - 1)), run.err.read_text()
            (folder / "validating").unlink()
        assert run.wait_for((folder / "validating").exists), run.err.read_text()
        ended, seconds = interrupt(run, signum)
        assert steps(folder / "logs/run/version_0")[-1] == 20 * validation
        finish(folder, "--resume=auto")
        same = state(folder / "logs/run/version_0") == state(straight / "logs/run/version_0")
        out = (folder / "out.txt").read_text()
        measured = [line for line in out.splitlines() if "val/loss" in line and line.startswith("step")]
        expected = (straight / "out.txt").read_text().splitlines()
        assert measured == [line for line in expected if "val/loss" in line and line.startswith("step")]
        best = [line.partition(" (")[2] for line in (*out.splitlines(), *expected) if line.startswith("best: ")]
        assert best[0] == best[1]
        tally("R7", (ended, same, rows(folder)) == (code, True, rows(straight)) and seconds < 10.0)


@pytest.mark.parametrize(("signum", "code"), SIGNALS)
def test_in_a_save(tmp_path: Path, signum: int, code: int) -> None:
    config = BIG.replace("every_n_steps: 3", "every_n_steps: 1").replace("max_steps: 60", "max_steps: 8")
    straight = prepare(tmp_path, "straight", config)
    finish(straight)
    for number in range(many(1, 3)):
        folder = prepare(tmp_path, f"run_{number}", config)
        run = Run(folder)
        assert run.wait_for_step(1), run.err.read_text()
        assert run.wait_for_saving(), run.err.read_text()
        ended, seconds = interrupt(run, signum)
        assert not list(run.checkpoints.glob(".*"))
        finish(folder, "--resume=auto")
        tally("R7", ended == code and seconds < 10.0)
        assert state(folder / "logs/run/version_0") == state(straight / "logs/run/version_0")


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    folder = prepare(tmp_path, "run", SLOW.replace("time.sleep(0.3)", ""))
    run = Run(folder, "--data.batch_size=1", "--trainer.accumulate_grad_batches=1000000", "--trainer.max_epochs=100000")
    assert run.wait_for_rows(5), run.err.read_text()
    run.send(signal.SIGINT)
    assert run.wait_for(lambda: "finishing the current step" in run.err.read_text())
    time.sleep(0.2)
    assert run.process.is_alive(), "the step takes an epoch"
    assert interrupt(run, signal.SIGINT)[0] == 130
    assert "Traceback" not in run.err.read_text()
    assert "Stopped at step 0. Nothing was saved" in run.err.read_text()


@pytest.mark.parametrize("command", ["test", "predict"])
def test_outside_of_training_a_signal_stops_at_once(tmp_path: Path, command: str) -> None:
    folder = prepare(tmp_path, "run")
    finish(folder, "--trainer.max_steps=3")
    write_text(folder, repeats=20000)
    run = Run(folder, "--data.test=text.txt", "--ckpt_path=logs/run/version_0", "--data.batch_size=1", command=command)
    assert not run.wait_for(lambda: not run.process.is_alive(), 3.0), run.err.read_text()
    ended, seconds = interrupt(run, signal.SIGINT)
    assert (ended, "Traceback" in run.err.read_text()) == (130, False)
    assert seconds < 10.0


def test_no_library_catches_an_interruption() -> None:
    """``inspect``, which Lightning calls for every batch, turns any Exception into a TypeError."""
    with pytest.raises(Interrupted) as caught:  # noqa: PT012
        try:
            Interruption()._handle(signal.SIGINT, None)
        except Exception as error:
            raise TypeError("unsupported callable") from error
    assert caught.value.signum == signal.SIGINT


@pytest.mark.skipif(not SOAK, reason="two processes and half a minute: make soak")
@pytest.mark.parametrize("rank", [0, 1])
def test_two_ranks_end_after_the_same_step(tmp_path: Path, rank: int) -> None:
    """A signal to one rank stops both."""
    folder = prepare(tmp_path, "run")
    ranks = (
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
        "--trainer.callbacks+=tests.reliability.processes.SlowSteps",
    )
    command = [sys.executable, "-m", "gpt_lightning", "fit", "-c", "config.yaml", "--allow_import=tests", *ranks]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "GLOO_SOCKET_IFNAME": "lo"}
    with (folder / "err.txt").open("w") as err:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=err)
        try:
            end = time.monotonic() + 120.0
            while max(steps(folder / "logs/run/version_0"), default=0) < 6 and time.monotonic() < end:
                assert process.poll() is None, (folder / "err.txt").read_text()[-2000:]
                time.sleep(0.01)
            (other,) = [pid for pid in children(process.pid) if "--trainer.devices=2" in arguments_of(pid)]
            begin = time.monotonic()
            os.kill((process.pid, other)[rank], signal.SIGTERM)
            code = process.wait(60.0)
            seconds = time.monotonic() - begin
        finally:
            process.kill()
    saved = steps(folder / "logs/run/version_0")[-1]
    assert "Traceback" not in (folder / "err.txt").read_text()
    assert 6 <= saved < 60
    tally("R7", code == 143 and seconds < 10.0)
    subprocess.run([*command, "--resume=auto"], cwd=folder, env=environment, check=True, capture_output=True)
    assert steps(folder / "logs/run/version_0")[-1] == 60


def arguments_of(pid: int) -> list[str]:
    """Return the command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
