"""Fixtures and settings that all tests share."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

# Tiny tensors gain nothing from threads, and several test processes share the cores. Set before torch starts them.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def one_process() -> Iterator[Any]:
    """Yield a device mesh of one process, for FSDP."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        yield init_device_mesh("cpu", (1,))
    finally:
        dist.destroy_process_group()
