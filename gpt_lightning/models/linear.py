"""Linear layers that are quick for a few rows, too, as when several texts are generated side by side.

R rows, C channels in, N channels out, K of them in a slice.
"""

from functools import lru_cache
from typing import Final

import torch
from torch import Tensor, nn

_FEW: Final = range(4, 16)
"""So many rows, for which MKL copies the whole weight to the layout it computes in: for more, that is worth it."""
_NARROWEST, _WIDEST = 8, 48
"""Rows of a slice of the weight: a copy of it stays in a core's own cache."""


class Linear(nn.Linear):
    """``torch.nn.Linear``, in slices where that is quicker."""

    def forward(self, x_RC: Tensor) -> Tensor:
        """(..., C) -> (..., N); for a few rows on a processor, without gradients, a slice of the weight at a time."""
        weight_NC = self.weight
        if (
            torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or (rows := x_RC.numel() // x_RC.size(-1)) not in _FEW
            or not (x_RC.is_cpu and x_RC.dtype == weight_NC.dtype == torch.float32)
            or (slices := _slices(self.out_features)) == 1
        ):
            return super().forward(x_RC)
        weight_SCK = weight_NC.view(slices, -1, self.in_features).transpose(1, 2)
        y_SRK = torch.bmm(x_RC.reshape(1, rows, -1).expand(slices, -1, -1), weight_SCK)
        y_RN = y_SRK.transpose(0, 1).reshape(*x_RC.shape[:-1], -1)
        return y_RN if self.bias is None else y_RN.add_(self.bias)


@lru_cache
def _slices(num_rows: int) -> int:
    """Into how many equal slices a weight of ``num_rows`` is cut; 1 if none are of a good size."""
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return 1
    widest = next(width for width in range(_WIDEST, 0, -1) if num_rows % width == 0)
    return num_rows // widest if widest >= _NARROWEST else 1
