"""Facts about this machine, without any secret: of the environment, only listed variables are read."""

import importlib
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gpt_lightning.commands.doctor.packages import Package, installed_packages
from gpt_lightning.commands.environment import LAUNCHER
from gpt_lightning.hardware import GB, cpu_field, cpu_name, memory
from gpt_lightning.paths import expand_home

_CACHE: Final = "~/.cache/gpt_lightning"
_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM")
_GPUS: Final = ("CUDA_VISIBLE_DEVICES",)
_FOLDERS: Final = ("TMPDIR", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
VARIABLES: Final = (*_THREADS, *_GPUS, *LAUNCHER, *_FOLDERS)
"""Environment variables that are read and shown; none of them holds a password or a token."""
_BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Features of CPUs that multiply bfloat16 numbers natively, as Linux names them."""
_MODULES: Final = {
    "jsonargparse": "jsonargparse",
    "packaging": "packaging",
    "psutil": "psutil",
    "yaml": "pyyaml",
    "lightning.pytorch": "lightning",
}
"""Module -> package. Those that nearly all commands import, besides PyTorch."""


@dataclass(frozen=True)
class Folder:
    """Folder that runs write to."""

    purpose: str
    path: str
    free_gb: float
    """NaN if it is unknown."""
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
    memory_gb: float | None
    """None if it is unknown, as is ``available_gb`` then."""
    available_gb: float | None
    folders: tuple[Folder, ...]
    shared_memory_gb: float | None
    """Free shared memory; None on systems without /dev/shm."""
    has_nvidia_driver: bool
    torch: Torch | None
    """None if PyTorch does not work."""
    torch_error: str | None = None
    import_errors: Mapping[str, str] = field(default_factory=dict)
    """Required package that cannot be imported -> the error."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Those of ``VARIABLES`` that are set."""


def this_machine() -> Machine:
    """Return the facts about this machine; importing PyTorch takes a moment."""
    main, shared = memory(), Path("/dev/shm")
    torch, error = _torch()
    return Machine(
        python=platform.python_version(),
        platform=platform.platform(),
        packages=installed_packages(),
        cpu=cpu_name(),
        num_cores=_num_cores(),
        has_bf16=_has_bf16(),
        memory_gb=None if main is None else main.total / GB,
        available_gb=None if main is None else main.available / GB,
        folders=(
            _folder("runs", Path("logs")),
            _folder("cache", expand_home(_CACHE)),
            _temporary_folder(),
        ),
        shared_memory_gb=_free_gb(shared) if _exists(shared) else None,
        has_nvidia_driver=_exists(Path("/proc/driver/nvidia/version")) or shutil.which("nvidia-smi") is not None,
        torch=torch,
        torch_error=error,
        import_errors=_import_errors(),
        environment={name: os.environ[name] for name in VARIABLES if name in os.environ},
    )


def _torch() -> tuple[Torch | None, str | None]:
    """Return what PyTorch finds, or None and the reason why it does not work."""
    try:
        return _working_torch(), None
    except Exception as error:  # a broken installation or driver raises anything
        return None, f"{type(error).__name__}: {error}"


def _working_torch() -> Torch:
    import torch

    from gpt_lightning.commands.run.device import choose, find_device

    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    choice = choose(find_device("auto"), has_precision=False, compiles=None, pays=True)
    return Torch(
        num_threads=torch.get_num_threads(),
        cuda=torch.version.cuda,
        gpus=tuple(Gpu(each.name, each.total_memory / GB, (each.major, each.minor)) for each in gpus),
        has_mps=torch.backends.mps.is_available(),
        precision=choice.precision,
        compiles=choice.compile,
    )


def _import_errors() -> dict[str, str]:
    """Return the errors of required packages that cannot be imported."""
    errors = {}
    for module, package in _MODULES.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # a broken installation raises anything
            errors[package] = f"{type(error).__name__}: {error}"
    return errors


def _folder(purpose: str, path: Path) -> Folder:
    """Return a folder that may not exist yet; its nearest parent then counts."""
    try:
        absolute = path.absolute()
    except OSError:  # the working directory was deleted
        return Folder(purpose, str(path), math.nan, False)
    existing = next(each for each in (absolute, *absolute.parents) if _exists(each))
    is_writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    return Folder(purpose, str(path), _free_gb(existing), is_writable)


def _temporary_folder() -> Folder:
    purpose = "temporary files"
    try:
        return _folder(purpose, Path(tempfile.gettempdir()))
    except OSError:  # no usual folder is writable
        return Folder(purpose, os.environ.get("TMPDIR", "/tmp"), math.nan, False)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # below a folder that may not be read, or a name that is too long
        return False


def _free_gb(folder: Path) -> float:
    """Return the free disk of a folder; NaN if it is unknown."""
    try:
        return shutil.disk_usage(folder).free / GB
    except OSError:
        return math.nan


def _num_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _has_bf16() -> bool | None:
    flags = cpu_field("flags") or cpu_field("Features")
    return None if flags is None else not _BF16_FLAGS.isdisjoint(flags.split())
