"""What the tests share."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

# Before torch starts its threads: tiny tensors gain nothing from them, and test processes run beside each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def one_process() -> Iterator[Any]:
    """A device mesh of this process alone, for FSDP."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        yield init_device_mesh("cpu", (1,))
    finally:
        dist.destroy_process_group()
