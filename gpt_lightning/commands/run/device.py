"""Precision and compilation for the device, where the user leaves them open."""

import ctypes
import importlib.util
import os
import shutil
import sys
from typing import Any, Final, NamedTuple

from gpt_lightning.errors import InputError

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""Settings of glibc's ``mallopt``."""


class Device(NamedTuple):
    """What is to be known of it."""

    capability: tuple[int, int] | None
    """Of a CUDA GPU, as (9, 0); None for all else."""
    has_compiler: bool
    """Whether ``torch.compile`` finds what it needs."""


class Choice(NamedTuple):
    """What was chosen."""

    precision: str | None
    """For the Trainer; None leaves its precision as it is."""
    compile: bool
    said: str | None
    """What of it the user did not ask for, in one line."""


def choose(device: Device, *, has_precision: bool, compiles: bool | None, pays: bool) -> Choice:
    """What suits ``device``; what the user said is as it was said.

    Args:
        device: see there.
        has_precision: the user named one.
        compiles: whether to compile, if the user said so; None leaves it open.
        pays: whether compiling may take the place of an answer: where many steps follow.

    Raises:
        InputError: it is to be compiled, and there is no compiler.
    """
    gpu = device.capability
    if compiles and not device.has_compiler:
        needed = "a C++ compiler (g++ or clang++)" if gpu is None else "a C compiler (gcc or clang) and triton"
        raise InputError(f"--compile=true needs {needed}; install what is missing, or leave it out")
    if gpu is None:
        return Choice(None, bool(compiles), None)
    said, precision = [], None
    if not has_precision and gpu >= (8, 0):  # older GPUs, as processors, have no fast bfloat16
        precision = "bf16-mixed"
        said.append(f"precision {precision}, flash attention where nothing is masked but the future")
    if compiles is None:
        compiles = pays and device.has_compiler and gpu >= (7, 0)
        said += ["a compiled backbone"] * compiles
    if not said:
        return Choice(precision, compiles, None)
    line = f"this GPU (compute capability {gpu[0]}.{gpu[1]}) gets {', '.join([*said, 'fused AdamW'])}"
    return Choice(precision, compiles, f"{line}; --trainer.precision and --compile say otherwise")


def find_device(accelerator: Any) -> Device:
    """The device that the Trainer will take for ``accelerator``, its own argument."""
    import torch

    is_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    if not is_gpu:
        return Device(None, _has_program(os.environ.get("CXX"), "g++", "clang++"))
    has_compiler = _has_program(os.environ.get("CC"), "gcc", "clang") and importlib.util.find_spec("triton") is not None
    return Device(torch.cuda.get_device_capability(), has_compiler)


def keep_freed_memory() -> None:
    """Keep what this process frees, up to 2 GB, for what it allocates next; where there is no glibc, nothing changes.

    Left alone, glibc hands the activations of each step back to the kernel, which clears them page by page for the
    next step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_THRESHOLD, 2**30)


def _has_program(*names: str | None) -> bool:
    return any(name is not None and shutil.which(name) is not None for name in names)
