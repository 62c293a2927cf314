"""Measurement of the largest tensor and the matrix products of a piece of code."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_FACTORS = {"mm": slice(0, 2), "addmm": slice(1, 3), "addmm_": slice(1, 3)}
"""Operator -> positions of the two matrices among its arguments."""


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context manager that records all torch operations inside it, forward and backward."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest = 0
        """Size of the largest result in bytes."""
        self.products = 0
        """Floating-point operations of all matrix products."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.largest = max(self.largest, leaf.untyped_storage().nbytes())
        factors = _FACTORS.get(func.overloadpacket.__name__)
        if factors is not None:
            a, b = args[factors]
            self.products += 2 * a.size(0) * a.size(1) * b.size(1)
        return result


def distance(actual: Tensor | None, expected: Tensor) -> float:
    """Return the norm of the difference, relative to the norm of the expected tensor."""
    assert actual is not None
    difference = actual.detach().double() - expected.detach()
    return float(torch.linalg.vector_norm(difference) / torch.linalg.vector_norm(expected.detach()))
