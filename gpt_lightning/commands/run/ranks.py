"""Processes of a run on several devices of one machine, connected without a port that other machines can reach."""

import atexit
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import lightning.pytorch as L
import torch.distributed
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy, ParallelStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch.distributed.constants import default_pg_timeout

from gpt_lightning.child_processes import STOPPED_LIMIT_S, accept_signals, without_signals
from gpt_lightning.commands.run.peers import GRACE_S, Parent, Peers
from gpt_lightning.errors import Interrupted

FOLDER: Final = "GPT_LIGHTNING_RANKS"
"""Environment variable that gives a rank the folder that it shares with the others."""

END_LIMIT_S: Final = 60.0
"""Seconds that the other ranks have to end after rank 0 is done."""


def needs_no_strategy(trainer: L.Trainer) -> bool:
    """Return whether the trainer has one device, but a strategy that opens a port to connect it with others."""
    return trainer.world_size == 1 and type(trainer.strategy) is DDPStrategy


@contextlib.contextmanager
def connect_ranks(trainer: L.Trainer, command: str) -> Iterator[None]:
    """Connect the processes of a run on one machine; start them, unless a launcher such as torchrun has.

    The ranks find each other through a private folder, and exchange data through the loopback interface. Runs on
    several machines are left to Lightning and torch.

    Args:
        trainer: trainer whose method runs in the block.
        command: name of the command, for messages.
    """
    if trainer.num_nodes == 1:
        use_loopback()
    if not _starts_processes(trainer):
        yield
        return
    strategy = trainer.strategy
    assert isinstance(strategy, ParallelStrategy)
    ranks = _other_rank(strategy) if FOLDER in os.environ else _first_rank(strategy)
    with ranks as peers, peers.watched(command):
        _join(strategy, peers)
        yield


def use_loopback() -> None:
    """Make gloo and NCCL listen on the loopback interface only, unless the user has chosen an interface."""
    loopback = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), None)
    if loopback is not None:
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, loopback)


def start_rank(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start another rank with the command line of this process."""
    return subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=environment)


def _starts_processes(trainer: L.Trainer) -> bool:
    """Return whether the run is on one machine, and this package starts its processes or has started this one."""
    launcher = trainer.strategy.launcher
    has_other_launcher = "LOCAL_RANK" in os.environ and FOLDER not in os.environ
    return (
        trainer.num_nodes == 1
        and isinstance(launcher, _SubprocessScriptLauncher)
        and isinstance(launcher.cluster_environment, LightningEnvironment)
        and not has_other_launcher
        and not torch.distributed.is_initialized()
    )


@contextlib.contextmanager
def _first_rank(strategy: ParallelStrategy) -> Iterator[Peers]:
    """Start the other ranks, and end them after the block."""
    folder = Path(tempfile.mkdtemp(prefix="gpt_lightning_"))  # other users cannot read it
    (folder / "rank_0").write_text(str(os.getpid()))
    own = {"LOCAL_RANK": "0", "NODE_RANK": "0"}  # Lightning then starts no processes
    others = {FOLDER: str(folder), "WORLD_SIZE": str(_world_size(strategy))}
    before = {name: os.environ.get(name) for name in own}
    processes: dict[int, subprocess.Popen[bytes]] = {}
    patience_s = 0.0
    try:
        os.environ.update(own)
        for rank in range(1, _world_size(strategy)):
            with without_signals():
                processes[rank] = start_rank({**os.environ, **others, "LOCAL_RANK": str(rank)})
        yield Peers(folder, 0, processes, _stopped_limit_s(strategy))
        patience_s = END_LIMIT_S
    except Interrupted as interruption:
        patience_s = GRACE_S if interruption.between_steps else 0.0
        raise
    finally:
        _end(list(processes.values()), patience_s)
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextlib.contextmanager
def _other_rank(strategy: ParallelStrategy) -> Iterator[Peers]:
    """Watch rank 0, which has started this process."""
    accept_signals()
    folder = Path(os.environ[FOLDER])
    if not folder.is_dir():
        raise SystemExit(1)  # rank 0 has ended
    parent = Parent(int((folder / "rank_0").read_text()))
    (folder / f"rank_{strategy.local_rank}").touch()
    try:
        yield Peers(folder, strategy.local_rank, {0: parent}, _stopped_limit_s(strategy))
    finally:
        if parent.poll() is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _join(strategy: ParallelStrategy, peers: Peers) -> None:
    """Wait for all ranks, and initialize the process group, which Lightning then uses."""
    assert strategy.accelerator is not None
    while len(list(peers.folder.glob("rank_*"))) < _world_size(strategy):
        peers.check()
        time.sleep(0.05)
    device = strategy.root_device
    strategy.accelerator.setup_device(device)
    backend = getattr(strategy, "process_group_backend", None) or ("nccl" if device.type == "cuda" else "gloo")
    torch.distributed.init_process_group(
        backend,
        store=torch.distributed.FileStore(  # type: ignore[attr-defined]
            str(peers.folder / "store"), _world_size(strategy)
        ),
        rank=strategy.local_rank,
        world_size=_world_size(strategy),
        timeout=_timeout(strategy),
        device_id=None if device.type == "cpu" else device,
    )
    if backend == "nccl":
        atexit.register(leave)


def leave() -> None:
    """Destroy the process group. NCCL warns about one that is left at the end, and metrics would wait for its ranks."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _end(processes: Sequence[subprocess.Popen[bytes]], patience_s: float) -> None:
    """Wait for processes, and kill those that have not ended in time."""
    end = time.monotonic() + patience_s
    for process in processes:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _world_size(strategy: ParallelStrategy) -> int:
    return len(strategy.parallel_devices or [])


def _stopped_limit_s(strategy: ParallelStrategy) -> float:
    return min(STOPPED_LIMIT_S, _timeout(strategy).total_seconds())


def _timeout(strategy: ParallelStrategy) -> timedelta:
    """Return how long a rank waits for the others in an operation."""
    timeout = getattr(strategy, "_timeout", None)
    return timeout if isinstance(timeout, timedelta) else default_pg_timeout
