"""Elementwise functions of a block with hand-written backward passes.

Autograd splits such a formula into single operations. Each reads and writes whole tensors, and keeps some for the
backward pass. On a CPU this costs as much as the matrix products of a small model.

Without gradients, the plain formulas run, in the order of operations of Hugging Face's models. This is faster for
single tokens, and gives the same scores as Hugging Face's models. The plain formulas are also used under torch.compile,
which fuses them itself; the compiler of torch 2.11 returned zeros for the custom SwiGLU on a GPU.

N any leading dimensions, D channels.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """``torch.nn.RMSNorm`` with fewer passes over memory in float32 on CPUs, for which torch has no fused kernel."""

    def forward(self, x_ND: Tensor) -> Tensor:
        """Divide each (..., D) by its root mean square and multiply it by the gain."""
        assert self.eps is not None
        if not (_uses_custom_backward() and x_ND.is_cpu and x_ND.dtype == self.weight.dtype == torch.float32):
            return super().forward(x_ND)
        y_ND: Tensor = _RMSNorm.apply(x_ND, self.weight, self.eps)  # type: ignore[no-untyped-call]
        return y_ND

    def gain(self) -> Tensor:
        """Return the gain of each channel, (D,)."""
        return self.weight


class ZeroCenteredRMSNorm(RMSNorm):
    """RMSNorm with the gain 1 + weight, and weights that start at zero (Gemma, arXiv:2403.08295).

    The gain is at least float32, because bfloat16 rounds 1.003 to 1.
    """

    def reset_parameters(self) -> None:
        """Set all weights to zero, and so all gains to 1."""
        nn.init.zeros_(self.weight)

    def forward(self, x_ND: Tensor) -> Tensor:
        """Divide each (..., D) by its root mean square and multiply it by the gain."""
        assert self.eps is not None
        gain_D = self.gain()
        if _uses_custom_backward() and x_ND.is_cpu and x_ND.dtype == gain_D.dtype == torch.float32:
            y_ND: Tensor = _RMSNorm.apply(x_ND, gain_D, self.eps)  # type: ignore[no-untyped-call]
            return y_ND
        wide_ND = x_ND.to(torch.promote_types(x_ND.dtype, gain_D.dtype))
        return F.rms_norm(wide_ND, self.normalized_shape, gain_D.to(wide_ND.dtype), self.eps).type_as(x_ND)

    def gain(self) -> Tensor:
        """Return the gain of each channel, (D,), float32 or float64."""
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
    """Apply rotary positions (RoPE); rotary pairs are channels i and i + D / 2 of each head.

    Args:
        x_BTHD: queries or keys.
        cos: (T, 1, D) or (B, T, 1, D), the cosines of each token's angles.
        signed_sin: the sines of the angles, negated in the first half of the channels.

    Returns:
        (B, T, H, D), the rotated queries or keys.
    """
    if cos.dtype != x_BTHD.dtype:
        cos, signed_sin = cos.to(x_BTHD.dtype), signed_sin.to(x_BTHD.dtype)
    if _uses_custom_backward():
        y_BTHD: Tensor = _Rotation.apply(x_BTHD, cos, signed_sin)  # type: ignore[no-untyped-call]
        return y_BTHD
    return x_BTHD.roll(x_BTHD.size(-1) // 2, -1).mul_(signed_sin).add_(x_BTHD * cos)


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTHD: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, signed_sin)
        return _apply_rotation(x_BTHD, cos, signed_sin)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cos, signed_sin = ctx.saved_tensors
        return _apply_rotation(gradients[0], cos, -signed_sin), None, None  # the inverse rotation


def _apply_rotation(x_BTHD: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
    y_BTHD = x_BTHD * cos
    half = x_BTHD.size(-1) // 2
    y_BTHD[..., :half].addcmul_(x_BTHD[..., half:], signed_sin[..., :half])
    y_BTHD[..., half:].addcmul_(x_BTHD[..., :half], signed_sin[..., half:])
    return y_BTHD


def squared_relu(x_ND: Tensor) -> Tensor:
    """Return ``relu(x)**2`` (So et al. 2021, arXiv:2109.08668)."""
    if _uses_custom_backward():
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
    """Return ``silu(gate) * up`` (Shazeer 2020, arXiv:2002.05202).

    Only the inputs are kept for the backward pass.
    """
    if _uses_custom_backward():
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
    """Return ``gelu(gate) * up`` (Shazeer 2020, arXiv:2002.05202), with the tanh approximation of GELU."""
    return F.gelu(gate_ND, approximate="tanh") * up_ND


def _uses_custom_backward() -> bool:
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()
