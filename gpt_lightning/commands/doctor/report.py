"""Report about a machine, as text and as JSON."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from gpt_lightning import __version__
from gpt_lightning.commands.doctor.advice import Advice
from gpt_lightning.commands.doctor.machine import Folder, Machine, Torch
from gpt_lightning.commands.doctor.packages import Package


def report(machine: Machine, found: Sequence[Advice]) -> str:
    """Return the report as text; advice is at the end."""
    problems = sum(each.is_problem for each in found)
    last = f"{problems} problem{'s' * (problems != 1)}" if problems else "no problem found"
    return "\n".join([*_facts(machine), "", *(each.line for each in found), last])


def as_json(machine: Machine, found: Sequence[Advice]) -> dict[str, Any]:
    """Return the report as a JSON object."""
    facts = asdict(machine)
    facts["precision"] = precision(machine)
    return {"gpt_lightning": __version__, "machine": facts, "advice": [asdict(each) for each in found]}


def precision(machine: Machine) -> str:
    """Return the precision that ``fit`` chooses, and why."""
    torch = machine.torch
    if torch is None:
        return "unknown, because PyTorch does not work"
    if torch.precision is not None:
        return f"{torch.precision}, because the GPU has bfloat16 units"
    if torch.gpus:
        return "32-true, because the GPU has no bfloat16 units"
    if machine.has_bf16:
        return "32-true, the default on CPUs; this one has bfloat16 instructions, so bf16-mixed may be faster"
    slow = "; this one has no bfloat16 instructions, so bf16-mixed would be many times slower"
    return f"32-true, the default on CPUs{slow if machine.has_bf16 is False else ''}"


def _facts(machine: Machine) -> Iterator[str]:
    yield f"gpt-lightning {__version__}, Python {machine.python}, {machine.platform}"
    required = [each for each in machine.packages if each.extra is None]
    yield f"packages: {', '.join(f'{each.name} {each.version}' for each in required if each.version) or 'unknown'}"
    yield f"extras: {'; '.join(_extras(machine.packages)) or 'unknown'}"
    yield f"CPU: {machine.cpu}, {machine.num_cores} cores{_threads(machine.torch)}"
    yield f"GPU: {_gpus(machine.torch)}"
    yield f"precision: {precision(machine)}"
    if machine.available_gb is not None:
        yield f"memory: {machine.available_gb:.1f} of {machine.memory_gb:.1f} GB free"
    if machine.shared_memory_gb is not None:
        yield f"shared memory: {machine.shared_memory_gb:.1f} GB free"
    for folder in machine.folders:
        yield f"disk for {folder.purpose} ({folder.path}): {_free(folder)}"
    if machine.environment:
        yield f"environment: {', '.join(f'{name}={value}' for name, value in machine.environment.items())}"


def _free(folder: Folder) -> str:
    return "unknown" if math.isnan(folder.free_gb) else f"{folder.free_gb:.1f} GB free"


def _extras(packages: Sequence[Package]) -> Iterator[str]:
    """Yield each extra, with the command that installs it if one of its packages is missing."""
    for extra in sorted({each.extra for each in packages if each.extra is not None}):
        is_installed = all(each.version is not None for each in packages if each.extra == extra)
        yield f"{extra} installed" if is_installed else f"{extra} missing (pip install 'gpt-lightning[{extra}]')"


def _threads(torch: Torch | None) -> str:
    return "" if torch is None else f", {torch.num_threads} thread{'s' * (torch.num_threads != 1)} of PyTorch"


def _gpus(torch: Torch | None) -> str:
    if torch is None:
        return "unknown"
    names = [f"{each.name} ({each.memory_gb:.0f} GB)" for each in torch.gpus]
    return ", ".join(names) or ("Apple's (mps)" if torch.has_mps else "none")
