"""Client of a server that runs command lines, and what a command line did."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tests.reliability.fuzz.inputs import Input

LIMIT_S: Final = 60.0
REPOSITORY: Final = Path(__file__).parents[3]


@dataclass(frozen=True)
class Outcome:
    """Result of one command line.

    Attributes:
        code: exit code, or the negative number of the signal that ended the process.
        stopped: ``hang``, ``processes`` or ``busy`` if a limit ended it; ``busy`` is slow work with progress.
        seconds: duration.
        steps: optimizer steps.
        calls: calls of torch modules.
        memory_mb: largest resident memory, in MB.
        out: standard output.
        err: standard error.
        folder: working directory.
    """

    code: int
    stopped: str
    seconds: float
    steps: int
    calls: int
    memory_mb: int
    out: str
    err: str
    folder: Path


class Server:
    """Process that forks a child for each command line; a context manager."""

    def __init__(self, home: Path) -> None:
        """Start the process.

        Args:
            home: folder for caches and temporary files.
        """
        home.mkdir(parents=True, exist_ok=True)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PL_", "SLURM", "HF_"))
        }
        environment |= {
            "HOME": str(home),
            "TMPDIR": str(home),
            "HF_HOME": str(home / "huggingface"),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(REPOSITORY),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.fuzz.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self._reply()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, each: Input, world: Path, folder: Path, seconds: float = LIMIT_S) -> Outcome:
        """Write an input's files to the new ``folder`` and run its command line there."""
        each.write(world, folder)
        return self.run_in(folder, each.arguments, each.stdin, seconds)

    def run_in(self, folder: Path, arguments: tuple[str, ...], stdin: bytes = b"", seconds: float = LIMIT_S) -> Outcome:
        """Run a command line in an existing folder. Its output is written to files next to the folder."""
        files = {name: folder.with_name(f"{folder.name}.{name}") for name in ("stdin", "stdout", "stderr")}
        files["stdin"].write_bytes(stdin)
        for name in ("stdout", "stderr"):
            files[name].write_bytes(b"")
        assert self._process.stdin is not None
        request = {"folder": str(folder), "arguments": arguments, "seconds": seconds}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        reply = self._reply()
        out, err = (files[name].read_bytes().decode(errors="backslashreplace") for name in ("stdout", "stderr"))
        for path in files.values():
            path.unlink()
        return Outcome(**reply, out=out, err=err, folder=folder)

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the server of the fuzzer has ended; run python -m tests.reliability.fuzz.server")
        reply: dict[str, Any] = json.loads(line)
        return reply
