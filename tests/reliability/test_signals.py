"""SIGTERM and Ctrl-C in steps, validations, saves and other commands."""

import random
import shlex
import signal
import time
from pathlib import Path

import pytest

from gpt_lightning.errors import Interrupted
from gpt_lightning.training.interruption import Interruption
from tests.reliability.conftest import many, tally
from tests.reliability.processes import CONFIG, Run, finish, rows, state, steps
from tests.reliability.test_kill import BIG, prepare
from tests.runs import write_text

pytestmark = pytest.mark.reliability

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
SLOW = CONFIG.replace(
    "callbacks: {class_path: tests.reliability.processes.RowLog}",
    "callbacks: [tests.reliability.processes.RowLog, tests.reliability.processes.SlowValidation]",
)


def interrupt(run: Run, signum: int) -> tuple[int, float]:
    """Send a signal, and return the exit code and the seconds until the process ended."""
    begin = time.monotonic()
    run.send(signum)
    return run.end(30.0), time.monotonic() - begin


def pasted(said: str) -> list[str]:
    """Return the arguments of the command that an interrupted run printed."""
    words = shlex.split(said.splitlines()[-1])
    return words[words.index("fit") + 1 :]


@pytest.mark.parametrize(("signum", "code"), SIGNALS)
def test_signal_in_a_step(tmp_path: Path, signum: int, code: int) -> None:
    uninterrupted = prepare(tmp_path, "uninterrupted")
    finish(uninterrupted)
    rng = random.Random(signum)
    for number in range(many(2, 10)):
        folder = prepare(tmp_path, f"run_{number}")
        run = Run(folder)
        moment = rng.randrange(1, 50)
        assert run.wait_for_rows(moment), run.err.read_text()
        exit_code, seconds = interrupt(run, signum)
        assert f"{signal.Signals(signum).name}: finishing the current step, then saving." in run.err.read_text()
        assert "Traceback" not in run.err.read_text()
        listed = steps(folder / "logs/run/version_0")
        done = len((folder / "rows.log").read_text().splitlines())
        assert listed[-1] == done, "the last step must be saved"
        message = run.err.read_text()
        saved = f"logs/run/version_0/checkpoints/step_{done}.ckpt"
        assert f"Stopped after step {done}. Saved {saved}\nResume with:\n" in message
        finish(folder, *pasted(message), config="")
        assert len((folder / "rows.log").read_text().splitlines()) == 60, "no step may be repeated"
        same = state(folder / "logs/run/version_0") == state(uninterrupted / "logs/run/version_0")
        tally("R7", (exit_code, same, rows(folder)) == (code, True, rows(uninterrupted)) and seconds < 10.0)


@pytest.mark.parametrize(("signum", "code"), SIGNALS)
def test_signal_in_a_validation(tmp_path: Path, signum: int, code: int) -> None:
    """Check that the validation ends immediately, is repeated on resume, and leads to the same best checkpoint."""
    uninterrupted = prepare(tmp_path, "uninterrupted")
    finish(uninterrupted)
    for number, validation in enumerate(range(1, 1 + many(1, 3))):
        folder = prepare(tmp_path, f"run_{number}", SLOW)
        run = Run(folder)
        if validation > 1:
            assert run.wait_for_step(20 * (validation - 1)), run.err.read_text()
            (folder / "validating").unlink()
        assert run.wait_for((folder / "validating").exists), run.err.read_text()
        exit_code, seconds = interrupt(run, signum)
        assert steps(folder / "logs/run/version_0")[-1] == 20 * validation
        finish(folder, "--resume=auto")
        same = state(folder / "logs/run/version_0") == state(uninterrupted / "logs/run/version_0")
        out = (folder / "out.txt").read_text()
        losses = [line for line in out.splitlines() if "val/loss" in line and line.startswith("step")]
        expected = (uninterrupted / "out.txt").read_text().splitlines()
        assert losses == [line for line in expected if "val/loss" in line and line.startswith("step")]
        best = [line.partition(" (")[2] for line in (*out.splitlines(), *expected) if line.startswith("best: ")]
        assert best[0] == best[1]
        tally("R7", (exit_code, same, rows(folder)) == (code, True, rows(uninterrupted)) and seconds < 10.0)


@pytest.mark.parametrize(("signum", "code"), SIGNALS)
def test_signal_in_a_save(tmp_path: Path, signum: int, code: int) -> None:
    config = BIG.replace("every_n_steps: 3", "every_n_steps: 1").replace("max_steps: 60", "max_steps: 8")
    uninterrupted = prepare(tmp_path, "uninterrupted", config)
    finish(uninterrupted)
    for number in range(many(1, 3)):
        folder = prepare(tmp_path, f"run_{number}", config)
        run = Run(folder)
        assert run.wait_for_step(1), run.err.read_text()
        assert run.wait_for_saving(), run.err.read_text()
        exit_code, seconds = interrupt(run, signum)
        assert not list(run.checkpoints.glob(".*"))
        finish(folder, "--resume=auto")
        tally("R7", exit_code == code and seconds < 10.0)
        assert state(folder / "logs/run/version_0") == state(uninterrupted / "logs/run/version_0")


def test_second_ctrl_c_ends_the_run_immediately(tmp_path: Path) -> None:
    folder = prepare(tmp_path, "run", SLOW.replace("time.sleep(0.3)", ""))
    run = Run(folder, "--data.batch_size=1", "--trainer.accumulate_grad_batches=1000000", "--trainer.max_epochs=100000")
    assert run.wait_for_rows(5), run.err.read_text()
    run.send(signal.SIGINT)
    assert run.wait_for(lambda: "finishing the current step" in run.err.read_text())
    time.sleep(0.2)
    assert run.process.is_alive(), "the step must take a whole epoch"
    assert interrupt(run, signal.SIGINT)[0] == 130
    assert "Traceback" not in run.err.read_text()
    assert "Stopped at step 0. Nothing was saved" in run.err.read_text()


@pytest.mark.parametrize("command", ["test", "predict"])
def test_ctrl_c_ends_test_and_predict_immediately(tmp_path: Path, command: str) -> None:
    folder = prepare(tmp_path, "run")
    finish(folder, "--trainer.max_steps=3")
    write_text(folder, repeats=20000)
    run = Run(folder, "--data.test=text.txt", "--ckpt_path=logs/run/version_0", "--data.batch_size=1", command=command)
    assert not run.wait_for(lambda: not run.process.is_alive(), 3.0), run.err.read_text()
    exit_code, seconds = interrupt(run, signal.SIGINT)
    assert (exit_code, "Traceback" in run.err.read_text()) == (130, False)
    assert seconds < 10.0


def test_interruption_passes_handlers_of_exceptions() -> None:
    """Imitate ``inspect``, which Lightning calls for every batch and which turns any Exception into a TypeError."""
    with pytest.raises(Interrupted) as caught:  # noqa: PT012
        try:
            Interruption()._handle(signal.SIGINT, None)
        except Exception as error:
            raise TypeError("unsupported callable") from error
    assert caught.value.signum == signal.SIGINT
