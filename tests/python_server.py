"""Python commands in processes that start fast, for tests that run another copy of the project.

The processes are forked from a server that has imported the libraries, but no module of the project. Requests and
replies are JSON lines on the standard input and output of the server.
"""

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Final, NoReturn, Self

LIBRARIES: Final = ["lightning.pytorch.cli", "transformers", "datasets", "torch.utils.tensorboard"]
"""Modules that take seconds to import."""


class PythonServer:
    """Server that runs ``python -m MODULE`` in a folder; a context manager."""

    def __enter__(self) -> Self:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, folder: Path, *arguments: str) -> tuple[int, str]:
        """Run a module with arguments in ``folder``, which is first in ``sys.path``; return exit code and output."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        output = folder.with_name(f"{folder.name}.out")
        print(json.dumps([str(folder), str(output), *arguments]), file=self._process.stdin, flush=True)
        code = int(self._process.stdout.readline())
        return code, output.read_text()


def _main() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            _run(*request)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(folder: str, output: str, module: str, *arguments: str) -> NoReturn:
    """Run a module as ``python -m`` would, and exit."""
    os.chdir(folder)
    for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
        os.dup2(os.open(output if number else os.devnull, flags), number)
    os.dup2(1, 2)
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    # pytest warns of plugins that are imported already, such as that of anyio.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path.insert(0, folder)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    _main()
