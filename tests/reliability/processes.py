"""Real training processes that start fast, for tests that kill them.

They are forked from a server that has imported everything and done nothing, so each is ready in a moment and is a
process of its own, with its own signals, locks and exit code.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
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
_CONTEXT.set_forkserver_preload(["gpt_lightning.commands.run.cli", "tests.reliability.processes"])

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
    """Appends (epoch, batch, ids of its rows) to ``rows.log``: what is written is there, however the process ends."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        with Path("rows.log").open("a") as file:
            file.write(json.dumps([trainer.current_epoch, batch_idx, batch["ids"], batch["input_ids"].tolist()]) + "\n")


class SlowValidation(L.Callback):
    """Makes each batch of a validation take a while."""

    def on_validation_batch_start(self, *args: Any, **kwargs: Any) -> None:
        Path("validating").touch()
        time.sleep(0.3)


class SlowSteps(L.Callback):
    """Leaves time to do something between two steps."""

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        time.sleep(0.03)


class Run:
    """A training process in ``folder``."""

    def __init__(self, folder: Path, *arguments: str, command: str = "fit", config: str = "config.yaml") -> None:
        self.folder = folder
        self.checkpoints = folder / "logs/run/version_0/checkpoints"
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        options = ["-c", config, "--allow_import=tests"] if config else []
        self.process = _CONTEXT.Process(target=_main, args=([command, *options, *arguments], folder))
        self.process.start()

    def wait_for(self, what: Callable[[], bool], seconds: float = 60.0) -> bool:
        """Until ``what`` is true, or the process has ended; whether it was true in time."""
        end = time.monotonic() + seconds
        while not what():
            if not self.process.is_alive() or time.monotonic() > end:
                return what()
            time.sleep(0.0005)
        return True

    def wait_for_rows(self, number: int) -> bool:
        """Until ``number`` batches have been trained on since ``rows.log`` began."""
        log = self.folder / "rows.log"
        return self.wait_for(lambda: log.exists() and log.read_bytes().count(b"\n") >= number)

    def wait_for_step(self, step: int) -> bool:
        """Until a checkpoint of at least ``step`` is listed."""
        return self.wait_for(lambda: max(steps(self.checkpoints.parent), default=0) >= step)

    def wait_for_saving(self) -> bool:
        """Until a checkpoint is being written."""
        return self.wait_for(lambda: any(self.checkpoints.glob(".step_*")))

    def kill(self) -> None:
        """The way the kernel does it."""
        self.process.kill()
        self.process.join()

    def send(self, signum: int) -> None:
        """As ``kill -SIGNUM`` does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, signum)

    def end(self, seconds: float = 120.0) -> int:
        """Wait for the end; the exit code, negative for a signal that was not handled."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.kill()
            raise TimeoutError(f"still running: {self.out.read_text()[-1000:]} {self.err.read_text()[-1000:]}")
        return int(self.process.exitcode or 0)


def finish(folder: Path, *arguments: str, config: str = "config.yaml") -> None:
    """Run to the end, which must be a good one."""
    run = Run(folder, *arguments, config=config)
    assert run.end() == 0, run.err.read_text()


def rows(folder: Path) -> dict[tuple[int, int], Any]:
    """(epoch, batch) -> rows, of all processes that trained in ``folder``; what was repeated must be the same."""
    found: dict[tuple[int, int], Any] = {}
    for line in (folder / "rows.log").read_text().splitlines():
        epoch, batch, ids, tokens = json.loads(line)
        assert found.setdefault((epoch, batch), (ids, tokens)) == (ids, tokens)
    return found


def state(run: Path) -> str:
    """The sha256 of the weights and the optimizer in a run's last checkpoint."""
    checkpoint = read_checkpoint(find_checkpoint(str(run), "last"))
    digest = hashlib.sha256()
    update(digest, [checkpoint["global_step"], checkpoint["state_dict"], checkpoint["optimizer_states"]])
    return digest.hexdigest()


def steps(run: Path) -> list[int]:
    """The steps of the checkpoints that are listed."""
    return [entry.step for entry in Manifest.read(run / "checkpoints").checkpoints]


def children(pid: int) -> list[int]:
    """Processes that ``pid`` has started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _main(arguments: list[str], folder: Path) -> None:
    os.chdir(folder)
    os.environ.pop("PL_GLOBAL_SEED", None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout, sys.stderr = (folder / "out.txt").open("a"), (folder / "err.txt").open("a")
    from gpt_lightning.cli import main

    code: Any
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)
