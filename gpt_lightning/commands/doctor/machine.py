"""Facts about this machine, without any secret: of the environment, only listed variables are read."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from gpt_lightning.commands.doctor.packages import Package, installed_packages
from gpt_lightning.paths import expand_home

_GB: Final = 1e9
_CACHE: Final = "~/.cache/gpt_lightning"
_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM")
_GPUS: Final = ("CUDA_VISIBLE_DEVICES",)
LAUNCHER: Final = (
    *("RANK", "LOCAL_RANK", "GLOBAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("MASTER_PORT", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS"),
)
"""Variables by which launchers number the processes of a run."""
_FOLDERS: Final = ("TMPDIR", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
VARIABLES: Final = (*_THREADS, *_GPUS, *LAUNCHER, *_FOLDERS)
"""Environment variables that are read and shown; none of them holds a password or a token."""
_BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Features of CPUs that multiply bfloat16 numbers natively, as Linux names them."""


@dataclass(frozen=True)
class Folder:
    """Folder that runs write to."""

    purpose: str
    path: str
    free_gb: float
    is_writable: bool


@dataclass(frozen=True)
class Gpu:
    """CUDA GPU."""

    name: str
    memory_gb: float
    capability: tuple[int, int]


@dataclass(frozen=True)
class Torch:
    """PyTorch and the devices that it finds."""

    num_threads: int = 1
    cuda: str | None = None
    """CUDA version that it was built for; None for a CPU build."""
    gpus: tuple[Gpu, ...] = ()
    has_mps: bool = False
    precision: str | None = None
    """Precision that ``fit`` chooses; None for the Trainer's default, 32-true."""
    compiles: bool = False
    """True if ``fit`` compiles the model."""


@dataclass(frozen=True)
class Machine:
    """Facts about a machine."""

    python: str
    platform: str
    packages: tuple[Package, ...]
    cpu: str
    num_cores: int
    """Cores that this process may use."""
    has_bf16: bool | None
    """True if the CPU multiplies bfloat16 numbers natively; None if that is unknown."""
    memory_gb: float
    available_gb: float
    folders: tuple[Folder, ...]
    shared_memory_gb: float | None
    """Free shared memory; None on systems without /dev/shm."""
    has_nvidia_driver: bool
    torch: Torch | None
    """None if PyTorch cannot be imported."""
    torch_error: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """Those of ``VARIABLES`` that are set."""


def this_machine() -> Machine:
    """Return the facts about this machine; importing PyTorch takes a moment."""
    memory, shared = psutil.virtual_memory(), Path("/dev/shm")
    torch, error = _torch()
    return Machine(
        python=platform.python_version(),
        platform=platform.platform(),
        packages=installed_packages(),
        cpu=_cpu_info("model name") or platform.machine(),
        num_cores=_num_cores(),
        has_bf16=_has_bf16(),
        memory_gb=memory.total / _GB,
        available_gb=memory.available / _GB,
        folders=(
            _folder("runs", Path("logs")),
            _folder("cache", expand_home(_CACHE)),
            _folder("temporary files", Path(tempfile.gettempdir())),
        ),
        shared_memory_gb=shutil.disk_usage(shared).free / _GB if shared.is_dir() else None,
        has_nvidia_driver=Path("/proc/driver/nvidia/version").is_file() or shutil.which("nvidia-smi") is not None,
        torch=torch,
        torch_error=error,
        environment={name: os.environ[name] for name in VARIABLES if name in os.environ},
    )


def _torch() -> tuple[Torch | None, str | None]:
    """Return what PyTorch finds, or None and the reason why it cannot be imported."""
    try:
        import torch
    except (ImportError, OSError) as error:  # a missing library is an OSError
        return None, f"{type(error).__name__}: {error}"
    from gpt_lightning.commands.run.device import choose, find_device

    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    choice = choose(find_device("auto"), has_precision=False, compiles=None, pays=True)
    return Torch(
        num_threads=torch.get_num_threads(),
        cuda=torch.version.cuda,
        gpus=tuple(Gpu(each.name, each.total_memory / _GB, (each.major, each.minor)) for each in gpus),
        has_mps=torch.backends.mps.is_available(),
        precision=choice.precision,
        compiles=choice.compile,
    ), None


def _folder(purpose: str, path: Path) -> Folder:
    """Return a folder that may not exist yet; its nearest parent then counts."""
    existing = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    is_writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    return Folder(purpose, str(path), shutil.disk_usage(existing).free / _GB, is_writable)


def _num_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _has_bf16() -> bool | None:
    flags = _cpu_info("flags") or _cpu_info("Features")
    return None if flags is None else not _BF16_FLAGS.isdisjoint(flags.split())


def _cpu_info(name: str) -> str | None:
    """Return the value of a line in Linux's /proc/cpuinfo; None if there is none."""
    file = Path("/proc/cpuinfo")
    if sys.platform != "linux" or not file.is_file():
        return None
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
