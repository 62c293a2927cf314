"""Peak memory of a GPU or of this process."""

import sys

import torch


def peak_memory_gb(device: torch.device) -> float:
    """Return the peak memory in GB: of the GPU, or for a CPU of this process.

    Windows counts the working set, Linux and macOS the resident set. A platform that records no peak gives the memory
    in use now.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        import psutil

        memory = psutil.Process().memory_info()
        return float(getattr(memory, "peak_wset", memory.rss)) / 1e9
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit_bytes / 1e9
