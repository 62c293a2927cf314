"""CPU and memory of this machine, also where packages are missing or files are unreadable."""

import platform
from pathlib import Path
from typing import Final, NamedTuple

GB: Final = 1e9


class Memory(NamedTuple):
    """Main memory in bytes."""

    total: int
    available: int


def memory() -> Memory | None:
    """Return the main memory; None without a working psutil."""
    try:
        import psutil

        found = psutil.virtual_memory()
    except Exception:  # a broken installation raises anything
        return None
    return Memory(found.total, found.available)


def cpu_name() -> str:
    """Return the model of the CPU; its architecture if the system does not tell the model."""
    return cpu_field("model name") or platform.machine()


def cpu_field(name: str) -> str | None:
    """Return the value of a line in Linux's /proc/cpuinfo; None if there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # another system, or a container that hides the file
        return None
    fields = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in fields if key.strip() == name), None)
