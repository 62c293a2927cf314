"""Linear layer with a fast path for few input rows, as in batched generation.

R rows, C channels in, N channels out, S slices of the weight with K = N / S output channels each.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SLICED_ROWS: Final = range(4, 16)
"""Row counts for which repacking the weight in MKL costs more than it saves."""
_MIN_SLICE, _MAX_SLICE = 8, 48
"""Output channels of a slice; a repacked slice fits the cache of a CPU core."""


class Linear(nn.Linear):
    """``torch.nn.Linear`` that multiplies slices of the weight where this is faster."""

    def forward(self, x_RC: Tensor) -> Tensor:
        """Apply the layer: (..., C) -> (..., N).

        Few rows in float32 on a CPU are multiplied with slices of the weight, unless gradients are needed.
        """
        if (
            torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or not (x_RC.is_cpu and x_RC.dtype == torch.float32)
        ):
            return super().forward(x_RC)
        return self.as_function(x_RC.numel() // x_RC.size(-1))(x_RC)

    def as_function(self, rows: int) -> Callable[[Tensor], Tensor]:
        """Return ``forward`` without gradients as a function for R = ``rows``; it keeps the current weight."""
        is_sliced = rows in _SLICED_ROWS and self.weight.is_cpu and self.weight.dtype == torch.float32
        slices = _num_slices(self.out_features) if is_sliced else 1
        if slices == 1:
            return partial(F.linear, weight=self.weight, bias=self.bias)
        weight_SCK = self.weight.view(slices, -1, self.in_features).mT
        return partial(_sliced_linear, weight_SCK=weight_SCK, bias_N=self.bias)


def _sliced_linear(x_RC: Tensor, weight_SCK: Tensor, bias_N: Tensor | None) -> Tensor:
    """Apply a linear layer whose weight is in slices: (..., C) -> (..., N)."""
    x_1RC = x_RC.reshape(1, -1, x_RC.size(-1))
    y_SRK = torch.bmm(x_1RC.expand(len(weight_SCK), -1, -1), weight_SCK)
    y_RN = y_SRK.transpose(0, 1).reshape(*x_RC.shape[:-1], -1)
    return y_RN if bias_N is None else y_RN.add_(bias_N)


@lru_cache
def _num_slices(out_features: int) -> int:
    """Return the number of equal slices into which to split a weight.

    It is 1 if no slice size from ``_MIN_SLICE`` to ``_MAX_SLICE`` divides ``out_features``.
    """
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return 1
    size = next(size for size in range(_MAX_SLICE, 0, -1) if out_features % size == 0)
    return out_features // size if size >= _MIN_SLICE else 1
