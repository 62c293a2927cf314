"""Training in separate processes that start fast, for tests that kill them.

The processes are forked from a server that has already imported all modules. Each has its own signals, locks and exit
code.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L

from gpt_lightning.checkpoints.manifest import Manifest
from gpt_lightning.tasks.load import find_checkpoint, read_checkpoint
from gpt_lightning.training.step_record import update

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["gpt_lightning.commands.run.cli", "torch.utils.tensorboard", "tests.reliability.processes"]
)

CONFIG = """
experiment: run
trainer:
  accelerator: cpu
  devices: 1
  max_steps: 60
  val_check_interval: 20
  check_val_every_n_epoch: null
  limit_val_batches: 4
  log_every_n_steps: 1
  callbacks: {class_path: tests.reliability.processes.RowLog}
model:
  class_path: CausalLM
  init_args:
    backbone: {n_layer: 1, n_head: 2, n_embd: 16, block_size: 8, dropout: 0.1}
    optimizer: {lr: 0.01}
data:
  class_path: LanguageModeling
  init_args:
    train: text.txt
    validation: text.txt
    tokenizer: bytes
    batch_size: 4
    cache_dir: cache
checkpoints: {every_n_steps: 3}
samples: {max_new_tokens: 2}
"""


class RowLog(L.Callback):
    """Callback that appends each batch (epoch, index, row ids, tokens) to ``rows.log``, which survives a kill."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        with Path("rows.log").open("a") as file:
            file.write(json.dumps([trainer.current_epoch, batch_idx, batch["ids"], batch["input_ids"].tolist()]) + "\n")


class SlowValidation(L.Callback):
    """Callback that slows down validation, so that a signal can arrive during it."""

    def on_validation_batch_start(self, *args: Any, **kwargs: Any) -> None:
        Path("validating").touch()
        time.sleep(0.3)


class SlowSteps(L.Callback):
    """Callback that slows down training, so that a signal can arrive between two steps."""

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        time.sleep(0.03)


class Run:
    """Process that runs a command in ``folder``."""

    def __init__(self, folder: Path, *arguments: str, command: str = "fit", config: str = "config.yaml") -> None:
        self.folder = folder
        self.checkpoints = folder / "logs/run/version_0/checkpoints"
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        options = ["-c", config, "--allow_import=tests"] if config else []
        self.process = fork(_main, [command, *options, *arguments], folder)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 60.0) -> bool:
        """Wait until ``condition()`` is true, the process ends, or the time is over; return the last value."""
        end = time.monotonic() + seconds
        while not condition():
            if not self.process.is_alive() or time.monotonic() > end:
                return condition()
            time.sleep(0.0005)
        return True

    def wait_for_rows(self, number: int) -> bool:
        """Wait until ``rows.log`` has ``number`` batches."""
        log = self.folder / "rows.log"
        return self.wait_for(lambda: log.exists() and log.read_bytes().count(b"\n") >= number)

    def wait_for_step(self, step: int) -> bool:
        """Wait until a checkpoint of ``step`` or later is listed."""
        return self.wait_for(lambda: max(steps(self.checkpoints.parent), default=0) >= step)

    def wait_for_saving(self) -> bool:
        """Wait until a checkpoint is being written."""
        return self.wait_for(lambda: any(self.checkpoints.glob(".step_*")))

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self.process.kill()
        self.process.join()

    def send(self, signum: int) -> None:
        """Send a signal to the process."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, signum)

    def end(self, seconds: float = 120.0) -> int:
        """Wait for the end and return the exit code; it is negative after an unhandled signal."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.kill()
            raise TimeoutError(f"still running: {self.out.read_text()[-1000:]} {self.err.read_text()[-1000:]}")
        return int(self.process.exitcode or 0)


def fork(target: Callable[..., None], *arguments: Any) -> multiprocessing.process.BaseProcess:
    """Start a process that calls a function of a module, and return it."""
    process = _CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def finish(folder: Path, *arguments: str, config: str = "config.yaml") -> None:
    """Train until the end, without an error."""
    run = Run(folder, *arguments, config=config)
    assert run.end() == 0, run.err.read_text()


def rows(folder: Path) -> dict[tuple[int, int], Any]:
    """Return (epoch, batch) -> rows of all processes that trained in ``folder``; repeated batches must be equal."""
    found: dict[tuple[int, int], Any] = {}
    for line in (folder / "rows.log").read_text().splitlines():
        epoch, batch, ids, tokens = json.loads(line)
        assert found.setdefault((epoch, batch), (ids, tokens)) == (ids, tokens)
    return found


def state(run: Path) -> str:
    """Return the SHA-256 of the weights and the optimizer state in a run's last checkpoint."""
    checkpoint = read_checkpoint(find_checkpoint(str(run), "last"))
    digest = hashlib.sha256()
    update(digest, [checkpoint["global_step"], checkpoint["state_dict"], checkpoint["optimizer_states"]])
    return digest.hexdigest()


def steps(run: Path) -> list[int]:
    """Return the steps of the listed checkpoints."""
    return [entry.step for entry in Manifest.read(run / "checkpoints").checkpoints]


def children(pid: int) -> list[int]:
    """Return the ids of the child processes of ``pid``."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _main(arguments: list[str], folder: Path) -> None:
    sys.stdout, sys.stderr = (folder / "out.txt").open("a"), (folder / "err.txt").open("a")
    run_command(arguments, folder)


def run_command(arguments: list[str], folder: Path) -> None:
    """Run a command in ``folder`` as the only work of this process, and exit with its code."""
    os.chdir(folder)
    os.environ.pop("PL_GLOBAL_SEED", None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from gpt_lightning.cli import main
    from gpt_lightning.commands.run import ranks

    ranks.start_rank = lambda environment: ForkedRank(arguments, folder, environment)  # type: ignore[assignment, return-value]
    code: Any
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


class ForkedRank:
    """Another rank of a run, forked from rank 0, with the methods of ``subprocess.Popen``."""

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._process = multiprocessing.get_context("fork").Process(
            target=_rank_main, args=(arguments, folder, environment)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.kill = self._process.kill

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the end of the process."""
        self._process.join(timeout)
        if self._process.is_alive():
            raise subprocess.TimeoutExpired("rank", timeout or 0.0)


def _rank_main(arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
    from lightning.pytorch.utilities import rank_zero_only

    os.environ |= environment
    # A new process would set it when it imports Lightning.
    rank_zero_only.rank = int(environment["LOCAL_RANK"])  # type: ignore[attr-defined]
    _main(arguments, folder)
