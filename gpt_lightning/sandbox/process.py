"""Command line of a process that runs a module of this package, and the limits that such a process sets itself."""

import json
import sys
from typing import Final

_PROGRAM: Final = (
    "import json, runpy, sys; sys.path[:] = json.loads(sys.argv[1]); sys.argv[:] = sys.argv[2:]; "
    "runpy.run_module(sys.argv[0], run_name='__main__')"
)


def command(module: str) -> list[str]:
    """Return the command that runs ``module`` with this process's module search path."""
    return [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), module]


def limit_resources(memory_bytes: int, cpu_seconds: int | None = None) -> None:
    """Limit the memory and the CPU time of this process, where the system supports it.

    Args:
        memory_bytes: limit of the address space.
        cpu_seconds: limit of the CPU time; None sets none.
    """
    try:
        import resource
    except ImportError:  # Windows lacks these limits
        return
    limits = {resource.RLIMIT_AS: memory_bytes, resource.RLIMIT_CORE: 0}
    if cpu_seconds is not None:
        limits[resource.RLIMIT_CPU] = cpu_seconds
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
