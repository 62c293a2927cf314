"""Linear layers that are fast for a few rows too, as in batched generation.

R rows, C channels in, N channels out, K of them in a slice.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FEW: Final = range(4, 16)
"""So many rows, for which MKL copies the whole weight to the layout it computes in: for more, that is worth it."""
_NARROWEST, _WIDEST = 8, 48
"""Rows of a slice of the weight: a copy of it stays in a core's own cache."""


class Linear(nn.Linear):
    """``torch.nn.Linear``, in slices where that is quicker."""

    def forward(self, x_RC: Tensor) -> Tensor:
        """(..., C) -> (..., N); for a few rows on a processor, without gradients, a slice of the weight at a time."""
        if (
            torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or not (x_RC.is_cpu and x_RC.dtype == torch.float32)
        ):
            return super().forward(x_RC)
        return self.plain(x_RC.numel() // x_RC.size(-1))(x_RC)

    def plain(self, rows: int) -> Callable[[Tensor], Tensor]:
        """``forward`` for so many rows, without gradients, as a function; it holds the weight as it is now."""
        few = rows in _FEW and self.weight.is_cpu and self.weight.dtype == torch.float32
        slices = _slices(self.out_features) if few else 1
        if slices == 1:
            return partial(F.linear, weight=self.weight, bias=self.bias)
        weight_SCK = self.weight.view(slices, -1, self.in_features).mT
        return partial(_sliced, weight_SCK=weight_SCK, bias_N=self.bias)


def _sliced(x_RC: Tensor, weight_SCK: Tensor, bias_N: Tensor | None) -> Tensor:
    """(..., C) -> (..., N)."""
    x_1RC = x_RC.reshape(1, -1, x_RC.size(-1))
    y_SRK = torch.bmm(x_1RC.expand(len(weight_SCK), -1, -1), weight_SCK)
    y_RN = y_SRK.transpose(0, 1).reshape(*x_RC.shape[:-1], -1)
    return y_RN if bias_N is None else y_RN.add_(bias_N)


@lru_cache
def _slices(num_rows: int) -> int:
    """Into how many equal slices a weight of ``num_rows`` is cut; 1 if none are of a good size."""
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return 1
    widest = next(width for width in range(_WIDEST, 0, -1) if num_rows % width == 0)
    return num_rows // widest if widest >= _NARROWEST else 1
