"""Commands as text that works when it is pasted into the shell that started this process."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def command(*arguments: str | Path) -> str:
    """Return a ``gpt-lightning`` command with quoted arguments."""
    return quote_words([*_program(), *map(str, arguments)])


def script(name: str) -> str:
    """Return the name of a console script of this environment, with its path if the shell would not find it."""
    own = shutil.which(name, path=str(Path(sys.executable).parent))
    return name if own is None or _is_found(name, own) else own


def quote_words(words: Iterable[str]) -> str:
    """Return words as a line of the platform's shell."""
    return subprocess.list2cmdline(list(words)) if os.name == "nt" else shlex.join(words)


def _program() -> list[str]:
    """Return how this process was started: by the console script, or with ``python -m``."""
    started = sys.argv[0]
    if Path(started).stem == "gpt-lightning":
        return ["gpt-lightning" if _is_found("gpt-lightning", started) else started]
    return ["python" if _is_found("python", sys.executable) else sys.executable, "-m", "gpt_lightning"]


def _is_found(name: str, path: str) -> bool:
    """Return whether the shell finds ``path`` by ``name``."""
    found = shutil.which(name)
    # Not resolved: the python of every virtual environment links to the same file.
    return found is not None and Path(found).absolute() == Path(path).absolute()
