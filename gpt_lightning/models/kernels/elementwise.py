"""Elementwise parts of a block, their backward passes written by hand.

Left to itself, autograd takes such a formula apart: each piece reads and writes whole tensors, and keeps some of them
for the backward pass. On a processor that costs as much as the matrix products of a small model. Where nothing asks for
gradients, the formulas are called directly, in the order of operations that Hugging Face's models have: token by token
that is quicker, and scores of their weights come out as theirs do. A compiler gets the plain formulas too: it fuses
them and their derivatives itself, and one was seen to give SwiGLU's by hand as 0 (torch 2.11 on a GPU).

N... any leading dimensions, D channels.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """``torch.nn.RMSNorm``, in fewer passes over memory where torch has no kernel of its own."""

    def forward(self, x_ND: Tensor) -> Tensor:
        """Scale each (..., D) by its root mean square."""
        assert self.eps is not None
        if not (_by_hand() and x_ND.is_cpu and x_ND.dtype == self.weight.dtype == torch.float32):
            return super().forward(x_ND)
        y_ND: Tensor = _RMSNorm.apply(x_ND, self.weight, self.eps)  # type: ignore[no-untyped-call]
        return y_ND

    def gain(self) -> Tensor:
        """Return the factor of each channel, (D,)."""
        return self.weight


class ZeroCenteredRMSNorm(RMSNorm):
    """RMSNorm whose weights are added to 1 and start at 0 (Gemma, arXiv:2403.08295).

    Below float32, the sum and the product are float32: bfloat16 cannot tell 1 from 1.003.
    """

    def reset_parameters(self) -> None:
        """Start with all gains at 1."""
        nn.init.zeros_(self.weight)

    def forward(self, x_ND: Tensor) -> Tensor:
        """Scale each (..., D) by its root mean square."""
        assert self.eps is not None
        gain_D = self.gain()
        if _by_hand() and x_ND.is_cpu and x_ND.dtype == gain_D.dtype == torch.float32:
            y_ND: Tensor = _RMSNorm.apply(x_ND, gain_D, self.eps)  # type: ignore[no-untyped-call]
            return y_ND
        wide_ND = x_ND.to(torch.promote_types(x_ND.dtype, gain_D.dtype))
        return F.rms_norm(wide_ND, self.normalized_shape, gain_D.to(wide_ND.dtype), self.eps).type_as(x_ND)

    def gain(self) -> Tensor:
        """Return the factor of each channel, (D,), float32 or float64."""
        return 1.0 + self.weight.to(torch.promote_types(self.weight.dtype, torch.float32))


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        squares_N1 = torch.linalg.vector_norm(x_ND, dim=-1, keepdim=True).square_()
        scale_N1: Tensor = squares_N1.mul_(1.0 / x_ND.size(-1)).add_(eps).rsqrt_()
        ctx.save_for_backward(x_ND, weight_D, scale_N1)
        return (x_ND * scale_N1).mul_(weight_D)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (dy_ND,) = gradients
        x_ND, weight_D, scale_N1 = ctx.saved_tensors
        product_ND = dy_ND * x_ND
        dot_N1 = (product_ND @ weight_D).unsqueeze(-1)
        dweight_D = scale_N1.flatten() @ product_ND.flatten(0, -2)
        dx_ND = torch.mul(dy_ND, weight_D).mul_(scale_N1)
        return dx_ND.addcmul_(x_ND, scale_N1.pow(3).mul_(dot_N1).div_(-x_ND.size(-1))), dweight_D, None


def rotate(x_BTHD: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
    """Turn channel i of every head together with channel i + D / 2.

    Args:
        x_BTHD: queries or keys.
        cos: (T, 1, D) or (B, T, 1, D), the cosines of each token's angles.
        signed_sin: their sines, those of the first half negated.
    """
    if cos.dtype != x_BTHD.dtype:
        cos, signed_sin = cos.to(x_BTHD.dtype), signed_sin.to(x_BTHD.dtype)
    if _by_hand():
        y_BTHD: Tensor = _Rotation.apply(x_BTHD, cos, signed_sin)  # type: ignore[no-untyped-call]
        return y_BTHD
    return x_BTHD.roll(x_BTHD.size(-1) // 2, -1).mul_(signed_sin).add_(x_BTHD * cos)


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTHD: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, signed_sin)
        return _turn(x_BTHD, cos, signed_sin)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cos, signed_sin = ctx.saved_tensors
        return _turn(gradients[0], cos, -signed_sin), None, None  # the inverse of a rotation turns back


def _turn(x_BTHD: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
    y_BTHD = x_BTHD * cos
    half = x_BTHD.size(-1) // 2
    y_BTHD[..., :half].addcmul_(x_BTHD[..., half:], signed_sin[..., :half])
    y_BTHD[..., half:].addcmul_(x_BTHD[..., :half], signed_sin[..., half:])
    return y_BTHD


def squared_relu(x_ND: Tensor) -> Tensor:
    """``relu(x)**2`` (So et al. 2021, arXiv:2109.08668)."""
    if _by_hand():
        y_ND: Tensor = _SquaredReLU.apply(x_ND)  # type: ignore[no-untyped-call]
        return y_ND
    relu_ND = F.relu(x_ND)
    return relu_ND.square() if torch.is_grad_enabled() else relu_ND.square_()


class _SquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor) -> Tensor:
        relu_ND = F.relu(x_ND)
        ctx.save_for_backward(relu_ND)
        return relu_ND.square()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (relu_ND,) = ctx.saved_tensors
        return torch.mul(gradients[0], relu_ND).mul_(2.0)


def swiglu(gate_ND: Tensor, up_ND: Tensor) -> Tensor:
    """``silu(gate) * up`` (Shazeer 2020, arXiv:2002.05202); of the two factors only what they come from is kept."""
    if _by_hand():
        y_ND: Tensor = _SwiGLU.apply(gate_ND, up_ND)  # type: ignore[no-untyped-call]
        return y_ND
    silu_ND = F.silu(gate_ND)
    return silu_ND * up_ND if torch.is_grad_enabled() else silu_ND.mul_(up_ND)


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_ND: Tensor, up_ND: Tensor) -> Tensor:
        ctx.save_for_backward(gate_ND, up_ND)
        return F.silu(gate_ND).mul_(up_ND)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (dy_ND,) = gradients
        gate_ND, up_ND = ctx.saved_tensors
        dgate_ND = torch.ops.aten.silu_backward(dy_ND * up_ND, gate_ND)
        return dgate_ND, F.silu(gate_ND).mul_(dy_ND)


def geglu(gate_ND: Tensor, up_ND: Tensor) -> Tensor:
    """``gelu(gate) * up`` (Shazeer 2020, arXiv:2002.05202), with the tanh form of GELU."""
    return F.gelu(gate_ND, approximate="tanh") * up_ND


def _by_hand() -> bool:
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()
