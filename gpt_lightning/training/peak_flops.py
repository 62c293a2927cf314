"""Peak arithmetic throughput of a device, the denominator of MFU."""

import functools
import time
from typing import Final

import torch
from lightning.fabric.utilities.throughput import get_available_flops

DTYPES: Final = {
    "bf16-mixed": torch.bfloat16,
    "bf16-true": torch.bfloat16,
    "16-mixed": torch.float16,
    "16-true": torch.float16,
}
"""Trainer's precision -> dtype of matrix products; float32 for all other precisions."""

MAX_SECONDS: Final = 0.1
"""Time for each size, and limit of the expected time of one product. Training must start soon."""


def peak_flops(device: torch.device, precision: str) -> float:
    """Return the FLOP/s that one device can reach: Lightning's figure for a known GPU, else a measured one."""
    dtype = DTYPES.get(precision, torch.float32)
    known = get_available_flops(device, dtype) if device.type == "cuda" else None
    return float(known) if known else measured_flops(device, dtype)


@functools.cache
def measured_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the best rate in FLOP/s of square matrix products of growing size.

    No single size reaches the peak everywhere: small products do not fill a GPU, large ones leave the caches of a CPU.
    """
    size, largest = 256, 1024 if device.type == "cpu" else 8192
    best, seconds = 0.0, 0.0
    while size <= largest and 8 * seconds < MAX_SECONDS:
        seconds = seconds_per_product(size, device, dtype)
        best = max(best, 2 * size**3 / seconds)
        size *= 2
    return best


def seconds_per_product(size: int, device: torch.device, dtype: torch.dtype) -> float:
    """Return the shortest time of a product of two (size, size) matrices, after a warm-up.

    A GPU computes several products per measurement, which hides the time that it takes to start one.
    """
    products = 1 if device.type == "cpu" else 10
    a = torch.randn(size, size, device=device, dtype=dtype)
    best, spent = float("inf"), 0.0
    for repeat in range(10):
        start = time.perf_counter()
        for _ in range(products):
            b = a @ a
        b[0, 0].item()  # waits for the device
        seconds = time.perf_counter() - start
        spent += seconds
        if repeat > 0:
            best = min(best, seconds)
        if repeat > 2 and spent > MAX_SECONDS:
            break
    return best / products
