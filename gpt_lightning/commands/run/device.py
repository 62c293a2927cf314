"""Default precision and compilation for the device."""

import ctypes
import importlib.util
import os
import shutil
import sys
from typing import Any, Final, NamedTuple

from gpt_lightning.errors import InputError

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""Parameters of glibc's ``mallopt``."""


class Device(NamedTuple):
    """Properties of a device that the choice depends on."""

    capability: tuple[int, int] | None
    """Compute capability of a CUDA GPU, such as (9, 0); None for other devices."""
    has_compiler: bool
    """True if the compilers that ``torch.compile`` needs are installed."""


class Choice(NamedTuple):
    """Settings for a device."""

    precision: str | None
    """Precision for the Trainer; None keeps the Trainer's."""
    compile: bool
    """True if the backbone is to be compiled."""
    message: str | None
    """One line about the settings that differ from what the user gave; None without any."""


def choose(device: Device, *, has_precision: bool, compiles: bool | None, pays: bool) -> Choice:
    """Choose precision and compilation for a device; settings that the user gives are kept.

    Args:
        device: the device.
        has_precision: whether the user gives a precision.
        compiles: whether to compile; None decides by the device.
        pays: whether enough steps follow for compilation to pay off.

    Raises:
        InputError: the user wants to compile, but the compilers are missing.
    """
    gpu = device.capability
    if compiles and not device.has_compiler:
        needed = "a C++ compiler (g++ or clang++)" if gpu is None else "a C compiler (gcc or clang) and triton"
        raise InputError(f"--compile=true needs {needed}. Install what is missing, or leave the option out")
    if gpu is None:
        return Choice(None, bool(compiles), None)
    parts, precision = [], None
    if not has_precision and gpu >= (8, 0):  # older GPUs and CPUs have no fast bfloat16
        precision = "bf16-mixed"
        parts.append(f"precision {precision}, flash attention for causal masks")
    if compiles is None:
        compiles = pays and device.has_compiler and gpu >= (7, 0)
        parts += ["a compiled backbone"] * compiles
    if not parts:
        return Choice(precision, compiles, None)
    line = f"settings for this GPU (compute capability {gpu[0]}.{gpu[1]}): {', '.join([*parts, 'fused AdamW'])}"
    return Choice(precision, compiles, f"{line}. Change them with --trainer.precision and --compile")


def find_device(accelerator: Any) -> Device:
    """Return the device that the Trainer takes for its argument ``accelerator``."""
    import torch

    is_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    if not is_gpu:
        return Device(None, _has_program(os.environ.get("CXX"), "g++", "clang++"))
    has_compiler = _has_program(os.environ.get("CC"), "gcc", "clang") and importlib.util.find_spec("triton") is not None
    return Device(torch.cuda.get_device_capability(), has_compiler)


def keep_freed_memory() -> None:
    """Make glibc reuse up to 2 GB of freed memory; without glibc, do nothing.

    By default glibc returns the activations of each step to the kernel, which clears every page for the next step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_THRESHOLD, 2**30)


def _has_program(*names: str | None) -> bool:
    return any(name is not None and shutil.which(name) is not None for name in names)
