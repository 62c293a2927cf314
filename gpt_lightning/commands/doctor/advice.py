"""Checks of a machine: what keeps training from working, and what makes it slow."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gpt_lightning.commands.doctor.machine import Machine
from gpt_lightning.commands.environment import LAUNCHER, check_environment
from gpt_lightning.errors import InputError

_MALICIOUS: Final = {"lightning": ("2.6.2", "2.6.3"), "pytorch-lightning": ("2.6.2", "2.6.3")}
"""Package -> releases on PyPI that were malware."""
_LITTLE_DISK_GB: Final = 10
_FULL_DISK_GB: Final = 1
_LITTLE_MEMORY_GB: Final = 4
_NO_MEMORY_GB: Final = 1
_LITTLE_SHARED_GB: Final = 0.5
_PYTHON: Final = (3, 11)


@dataclass(frozen=True)
class Advice:
    """Something to change."""

    is_problem: bool
    """True if training does not work or is not safe; False if it is only slow or unusual."""
    what: str
    remedy: str

    @property
    def line(self) -> str:
        """The advice in one line."""
        return f"{'problem' if self.is_problem else 'note'}: {self.what}. {self.remedy}"


def advice(machine: Machine) -> list[Advice]:
    """Return what to change, problems first."""
    checks = (_packages, _imports, _devices, _threads, _launchers, _folders, _memory)
    found = [each for check in checks for each in check(machine)]
    return sorted(found, key=lambda each: not each.is_problem)


def _packages(machine: Machine) -> Iterator[Advice]:
    if tuple(map(int, machine.python.split(".")[:2])) < _PYTHON:
        yield Advice(True, f"Python {machine.python} is too old", "Install Python 3.11 or later")
    if not machine.packages:
        yield Advice(False, "gpt-lightning is not installed, so versions cannot be checked", "Run pip install .")
    for package in machine.packages:
        name, version = package.name, package.version
        if version in _MALICIOUS.get(name, ()):
            what = f"{name} {version} is malware that was on PyPI for a short time"
            remedy = "Uninstall it, change all passwords and tokens of this machine, and install lightning>=2.6.6"
            yield Advice(True, what, remedy)
        elif version is None and package.extra is None:
            yield Advice(True, f"{name} is missing", f"Run pip install '{name}{package.required}'")
        elif version is not None and not package.is_accepted:
            what = f"{name} {version} does not match {package.required}"
            yield Advice(package.extra is None, what, f"Run pip install '{name}{package.required}'")


def _imports(machine: Machine) -> Iterator[Advice]:
    missing = {package.name.lower() for package in machine.packages if package.version is None}
    for name, error in machine.import_errors.items():
        if name not in missing and (name != "lightning" or machine.torch is not None):  # Lightning needs PyTorch
            yield Advice(True, f"{name} cannot be imported: {error}", f"Run pip install --force-reinstall {name}")


def _devices(machine: Machine) -> Iterator[Advice]:
    torch = machine.torch
    if torch is None:
        yield Advice(True, f"PyTorch does not work: {machine.torch_error}", "Install torch again")
        return
    hidden = machine.environment.get("CUDA_VISIBLE_DEVICES")
    if machine.has_nvidia_driver and torch.cuda is None:
        what = "this machine has an NVIDIA driver, but PyTorch is a build for CPUs"
        yield Advice(True, what, "Install the CUDA build of torch, as pytorch.org describes")
    elif torch.cuda is not None and not torch.gpus and hidden is not None and machine.has_nvidia_driver:
        what = f"CUDA_VISIBLE_DEVICES={hidden!r} hides all GPUs, so runs use the CPU"
        yield Advice(False, what, "Unset it to use the GPUs")
    elif torch.cuda is not None and not torch.gpus and machine.has_nvidia_driver:
        what = f"PyTorch, built for CUDA {torch.cuda}, finds no GPU though there is an NVIDIA driver"
        yield Advice(True, what, "Update the driver, or install a torch for the CUDA version that nvidia-smi shows")
    elif torch.cuda is not None and not torch.gpus:
        what = f"PyTorch is built for CUDA {torch.cuda}, but there is no NVIDIA driver, so runs use the CPU"
        yield Advice(False, what, "Install the driver if this machine has a GPU; otherwise the CPU build is smaller")
    for gpu in torch.gpus:
        if gpu.capability < (8, 0):
            what = f"{gpu.name} has no bfloat16 units, so runs use float32"
            yield Advice(False, what, "Add --trainer.precision=16-mixed if runs are slow")
    if torch.gpus and not torch.compiles:
        what = "models are not compiled, because a C compiler (gcc or clang) or triton is missing"
        yield Advice(False, what, "Install them, and steps take less time")


def _threads(machine: Machine) -> Iterator[Advice]:
    threads = machine.num_cores if machine.torch is None else machine.torch.num_threads
    limits = [name for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in machine.environment]
    # PyTorch takes one thread for each physical core, so half of the logical cores is normal.
    if machine.num_cores >= 4 and 2 * threads < machine.num_cores:
        cause = f", because {limits[0]}={machine.environment[limits[0]]}" if limits else ""
        what = f"PyTorch uses {threads} of {machine.num_cores} cores{cause}"
        remedy = f"Unset {limits[0]}" if limits else f"Set OMP_NUM_THREADS={machine.num_cores}"
        yield Advice(False, what, f"{remedy} if nothing else needs the cores")
    if machine.environment.get("TOKENIZERS_PARALLELISM", "").lower() in ("false", "0", "no", "off"):
        yield Advice(False, "TOKENIZERS_PARALLELISM lets the tokenizer use one core only", "Unset it")


def _launchers(machine: Machine) -> Iterator[Advice]:
    try:
        check_environment()
    except InputError as error:
        what, _, remedy = str(error).partition(". ")
        yield Advice(True, what, remedy)
    found = {name: machine.environment[name] for name in LAUNCHER if name in machine.environment}
    if found:
        what = f"a launcher has set {', '.join(f'{name}={value}' for name, value in found.items())}"
        is_waiting = any(re.fullmatch("0*[1-9][0-9]*", found.get(name, "0")) for name in ("RANK", "LOCAL_RANK"))
        waits = "; this process counts as one of several, and prints nothing" if is_waiting else ""
        yield Advice(is_waiting, f"{what}{waits}", "Unset them, unless torchrun or srun starts your runs")


def _folders(machine: Machine) -> Iterator[Advice]:
    remedies = {"runs": "--log_dir", "cache": "--data.cache_dir"}
    for folder in machine.folders:
        option = remedies.get(folder.purpose)
        elsewhere = f"choose another folder with {option}" if option else "set TMPDIR to another folder"
        where = f"{folder.path} ({folder.purpose})"
        if not folder.is_writable:
            yield Advice(True, f"{where} is not writable", f"Change its permissions, or {elsewhere}")
        if folder.free_gb < _LITTLE_DISK_GB:
            is_full = folder.free_gb < _FULL_DISK_GB
            what = f"{where} has {folder.free_gb:.1f} GB of free disk"
            yield Advice(is_full, what, f"Free some space, or {elsewhere}")


def _memory(machine: Machine) -> Iterator[Advice]:
    if machine.available_gb is not None and machine.available_gb < _LITTLE_MEMORY_GB:
        is_none = machine.available_gb < _NO_MEMORY_GB
        what = f"{machine.available_gb:.1f} of {machine.memory_gb:.1f} GB of memory are free"
        yield Advice(is_none, what, "End other programs, or lower --data.batch_size")
    if machine.shared_memory_gb is not None and machine.shared_memory_gb < _LITTLE_SHARED_GB:
        what = f"/dev/shm has {machine.shared_memory_gb:.2f} GB of free shared memory, too little for many workers"
        yield Advice(False, what, "Start the container with --shm-size=2g, or keep --data.num_workers=0")
