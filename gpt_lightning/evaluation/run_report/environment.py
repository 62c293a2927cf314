"""Versions, hardware and git state of the process that trains."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Final

import psutil
import torch

from gpt_lightning.child_processes import without_signals

_PACKAGES: Final = ("gpt-lightning", "torch", "lightning", "numpy", "datasets", "tokenizers", "torchmetrics", "peft")
_GIT: Final = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false")
"""Git without side effects: it neither writes to the repository nor runs a program that its configuration names."""


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
        "CPU": _cpu_name(),
        "CPU cores": str(os.cpu_count()),
        "threads of torch": str(torch.get_num_threads()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
    }
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        found["GPUs"] = ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))
    return found | {"system": f"{platform.system()} {platform.release()} ({platform.machine()})"}


def git_state(folder: Path) -> dict[str, str]:
    """Return commit, branch and number of changed files of the repository that contains ``folder``.

    The result is empty outside a repository, and without git. Addresses of remotes are left out, as they may contain
    passwords.
    """
    state = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules")
    if state is None:
        return {}
    lines = state.splitlines()
    heads = dict(line.removeprefix("# branch.").split(" ", 1) for line in lines if line.startswith("# branch."))
    changed = sum(not line.startswith("#") for line in lines)
    tree = f"{changed} changed files" if changed else "no changes"
    return {"commit": heads.get("oid", ""), "branch": heads.get("head", ""), "working tree": tree}


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command without the last line end; None if it failed."""
    try:
        with without_signals():
            done = subprocess.run([*_GIT, *arguments], cwd=folder, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").rstrip("\n") if done.returncode == 0 else None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
