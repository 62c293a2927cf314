"""Versions, hardware and git state of the process that trains."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Final

import torch

from gpt_lightning.child_processes import without_signals
from gpt_lightning.hardware import GB, cpu_name, memory

_PACKAGES: Final = ("gpt-lightning", "torch", "lightning", "numpy", "datasets", "tokenizers", "torchmetrics", "peft")
_GIT: Final = ("git", "--no-pager", "rev-parse", "HEAD", "--abbrev-ref", "HEAD")
"""Command that reads references only. ``git status`` would run programs that the repository's configuration names."""


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that determine a result."""
    found = {"Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | ({"CUDA": torch.version.cuda} if torch.version.cuda else {})


def hardware() -> dict[str, str]:
    """Return the CPU, memory, GPUs and operating system. Names of hosts and users are left out."""
    found = {
        "CPU": cpu_name(),
        "CPU cores": str(os.cpu_count()),
        "threads of torch": str(torch.get_num_threads()),
    }
    if (main := memory()) is not None:
        found["memory"] = f"{main.total / GB:.1f} GB"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        found["GPUs"] = ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))
    return found | {"system": f"{platform.system()} {platform.release()} ({platform.machine()})"}


def git_state(folder: Path) -> dict[str, str]:
    """Return commit and branch of the repository that contains ``folder``.

    The result is empty outside a repository, before the first commit, and without git. Changed files are not counted,
    because git runs filters from the repository's configuration to find them. Addresses of remotes are left out, as
    they may contain passwords.
    """
    environment = os.environ | {"GIT_NO_LAZY_FETCH": "1"}
    try:
        with without_signals():
            done = subprocess.run(_GIT, cwd=folder, env=environment, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = done.stdout.decode(errors="replace").splitlines()
    if done.returncode or len(lines) != 2:
        return {}
    commit, branch = lines
    return {"commit": commit, "branch": "none (detached HEAD)" if branch == "HEAD" else branch}
