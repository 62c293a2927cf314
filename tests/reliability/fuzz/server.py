"""Process that has imported everything and forks one child for each command line.

Requests and replies are JSON lines on standard input and output. A child has a session, a folder, output files and
limits of its own, and ends as a separate ``gpt-lightning`` does. So crashes of native code are visible as signals.
"""

import contextlib
import faulthandler
import gc
import importlib.util
import io
import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any, Final

import psutil

PRELOAD: Final = [
    "gpt_lightning.cli",
    "gpt_lightning.commands.run.cli",
    "gpt_lightning.evaluation.lm_eval.model",
    "gpt_lightning.evaluation.lm_eval.load_tasks",
    "gpt_lightning.evaluation.lm_eval.run",
    "gpt_lightning.training.lm_eval_callback",
    "lm_eval.evaluator",
    "lm_eval.tasks",
    "pyarrow.parquet",
]
DATA_BYTES: Final = 3 << 30
"""Memory of one process, without shared libraries."""
FILE_BYTES: Final = 1 << 28
MAX_PROCESSES: Final = 12
BUSY_S: Final = 10.0
"""A command that still makes progress after this time is stopped, because long work is no hang."""
PROGRESS_S: Final = 3.0
"""Time without progress after which a command no longer counts as busy."""


def main() -> None:
    """Import everything, then run one command line for each request."""
    for name in PRELOAD:
        importlib.import_module(name)
    gc.freeze()
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        work = Work()
        pid = os.fork()
        if not pid:
            _run(request, work)  # raises SystemExit
        print(json.dumps(_wait(pid, request, work)), flush=True)


class Work:
    """Number of optimizer steps and of module calls, in memory shared with the forked child."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 16)

    def read(self) -> tuple[int, int]:
        """Return the optimizer steps and the calls of modules so far."""
        steps, calls = struct.unpack("qq", self._memory)
        return steps, calls

    def count(self) -> None:
        """Count in this process."""
        from torch.nn.modules.module import register_module_forward_hook
        from torch.optim.optimizer import register_optimizer_step_post_hook

        def add(index: int) -> None:
            values = list(self.read())
            values[index] += 1
            self._memory[:] = struct.pack("qq", *values)

        register_optimizer_step_post_hook(lambda *_: add(0))
        register_module_forward_hook(lambda *_: add(1))


def _run(request: dict[str, Any], work: Work) -> None:
    """Run a command line as the program ``python -m gpt_lightning`` would, and exit."""
    os.setsid()
    folder = Path(request["folder"])
    os.chdir(folder)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        mode = os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY
        os.dup2(os.open(f"{folder}.{name}", mode), number)
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, DATA_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.register(signal.SIGUSR1, file=2)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w", closefd=False)), encoding="utf-8", errors=errors)
        for number, errors in ((1, "strict"), (2, "backslashreplace"))
    )
    # Lightning starts the processes of other devices by the name of this module.
    sys.modules["__main__"].__spec__ = importlib.util.find_spec("gpt_lightning.__main__")
    sys.argv = ["gpt-lightning", *request["arguments"]]
    work.count()
    from gpt_lightning.cli import main as run

    sys.exit(run(request["arguments"]))


def _wait(pid: int, request: dict[str, Any], work: Work) -> dict[str, Any]:
    """Wait for the child, stop it at a limit, and return how it ended."""
    begin = last = time.monotonic()
    seen: object = None
    stopped = ""
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        seconds = time.monotonic() - begin
        if ended:
            break
        if seconds > 1.0 and not stopped:
            progress = (*work.read(), Path(f"{request['folder']}.stdout").stat().st_size)
            last, seen = (last, seen) if progress == seen else (time.monotonic(), progress)
            stopped = _limit(pid, seconds, time.monotonic() - last, request["seconds"])
            if stopped:
                os.kill(pid, signal.SIGUSR1)  # the child prints where it is
                time.sleep(0.2)
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.005 if seconds < 1.0 else 0.2)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # processes that the child has left behind
    steps, calls = work.read()
    return {
        "code": os.waitstatus_to_exitcode(status),
        "stopped": stopped,
        "seconds": seconds,
        "steps": steps,
        "calls": calls,
        "memory_mb": usage.ru_maxrss // 1024,
    }


def _limit(pid: int, seconds: float, idle: float, allowed: float) -> str:
    """Return the name of the limit that a process has reached, or an empty string."""
    if seconds > allowed:
        return "hang"
    if seconds > BUSY_S and idle < PROGRESS_S:
        return "busy"
    with contextlib.suppress(psutil.NoSuchProcess):
        if len(psutil.Process(pid).children(recursive=True)) > MAX_PROCESSES:
            return "processes"
    return ""


if __name__ == "__main__":
    main()
