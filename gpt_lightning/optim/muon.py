"""Muon for the matrices of the blocks and AdamW for all other parameters, as one optimizer.

N matrices of one shape, R rows, C columns.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, overload

import torch
from torch import Tensor
from torch.optim.adamw import adamw

COEFFICIENTS: Final = (
    (8.2218, -23.3469, 16.6338),
    (3.9728, -2.8449, 0.5170),
    (3.4735, -2.5057, 0.4810),
    (2.5044, -1.7907, 0.4071),
)
"""Of x, x**3 and x**5, one iteration after the other: each takes what the last has left of [0.003, 1] as near to 1 as
such a polynomial can, and so do all of them together (Amsel et al. 2025, arXiv:2505.16932). Each bears 2 % more than
the last leaves, as bfloat16 rounds: beyond its range a polynomial explodes."""

MATCHING: Final = 0.2
"""How far AdamW moves a weight, a step at rate 1, as a root mean square."""


class Muon(torch.optim.Optimizer):
    """One optimizer with one state, where Lightning wants one: what a group's ``rows`` say is moved by Muon.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/): the momentum of a matrix's gradient, with
    Nesterov's look ahead, made nearly orthogonal, so that all of its directions move alike. The step is scaled by
    0.2 * sqrt(max(R, C)), which moves weights as far as AdamW does (Liu et al. 2025, arXiv:2502.16982): one rate and
    one weight decay serve both. The other groups are moved by torch's fused AdamW, bit for bit.

    Args:
        groups: of parameters, as torch's optimizers take them. A group of matrices has ``rows``: for each of them the
            numbers of rows that are matrices of their own, on top of one another.
        lr: the learning rate.
        betas: of AdamW: decay of the gradient's and of the squared gradient's mean, a step.
        eps: of AdamW: added to the root of the latter.
        momentum: of Muon: decay of the gradient's mean, a step.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        momentum: float,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0, "momentum": momentum, "rows": None}
        # That it is fused tells torch to load AdamW's counts of steps onto the parameters' device.
        super().__init__(groups, defaults | {"fused": True})
        for group in self.param_groups:
            if group["rows"] is not None:
                sizes = [(p.ndim, p.size(0)) for p in group["params"]]
                assert sizes == [(2, sum(rows)) for rows in group["rows"]], "rows are those of the parameters"

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moved: list[tuple[Tensor, float]] = []  # with its rate
        directions: list[Tensor] = []
        for group in self.param_groups:
            if group["rows"] is None:
                self._step_adamw(group)
                continue
            matrices, group_directions = self._average(group)
            moved += [(matrix, group["lr"]) for matrix in matrices]
            directions += group_directions
        for (matrix, lr), direction in zip(moved, orthogonalise(directions), strict=True):
            matrix.add_(direction, alpha=-lr * MATCHING * math.sqrt(max(matrix.shape)))
        return loss

    def _average(self, group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
        """The matrices of ``group``, decayed, and the directions in which their gradients would have them go."""
        used = [(p, rows) for p, rows in zip(group["params"], group["rows"], strict=True) if p.grad is not None]
        if not used:
            return [], []
        parameters, gradients = [p for p, _ in used], [p.grad for p, _ in used]
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        means = [self.state[p]["momentum_buffer"] for p in parameters]
        torch._foreach_lerp_(means, gradients, 1.0 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, means, group["momentum"])
        torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])
        matrices = [part for p, rows in used for part in torch.split(p, rows)]
        return matrices, [part for each, (_, rows) in zip(ahead, used, strict=True) for part in torch.split(each, rows)]

    def _step_adamw(self, group: dict[str, Any]) -> None:
        """As ``torch.optim.AdamW(fused=True)`` does it: by its own kernel, on the same state."""
        parameters = [p for p in group["params"] if p.grad is not None]
        for p in parameters:
            if not self.state[p]:
                self.state[p]["step"] = torch.zeros((), dtype=torch.float32, device=p.device)
                self.state[p]["exp_avg"] = torch.zeros_like(p)
                self.state[p]["exp_avg_sq"] = torch.zeros_like(p)
        states = [self.state[p] for p in parameters]
        adamw(
            parameters,
            [p.grad for p in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonalise(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Each of ``matrices`` (R, C) with its singular values brought near 1; all of one shape, or lying down, in one go.

    A matrix USV^T becomes US'V^T. S' lies in [0.77, 1.23] wherever S is at least 0.003 of the matrix's norm: for the
    direction of a step that is as good as 1, and takes few iterations. Zeros stay zeros.
    """
    lying = [matrix if matrix.size(0) <= matrix.size(1) else matrix.mT for matrix in matrices]
    alike: dict[tuple[torch.Size, torch.device, torch.dtype], list[int]] = {}
    for number, matrix in enumerate(lying):
        alike.setdefault((matrix.shape, matrix.device, matrix.dtype), []).append(number)
    results = list(matrices)
    for (_, device, dtype), numbers in alike.items():
        x_NRC = torch.stack([lying[number] for number in numbers]).to(product_dtype(device, dtype))
        for number, result in zip(numbers, _iterate(x_NRC), strict=True):
            results[number] = result if lying[number] is matrices[number] else result.mT
    return results


def _iterate(x_NRC: Tensor) -> Tensor:
    """Newton-Schulz: an odd polynomial of the matrices is that polynomial of their singular values."""
    # No singular value is larger than the norm, the root of their squares' sum; up to 1 the polynomials stay in bounds.
    x_NRC = x_NRC / torch.linalg.matrix_norm(x_NRC, keepdim=True).clamp(min=1e-7)
    if x_NRC.size(2) >= 2 * x_NRC.size(1) and x_NRC.dtype != torch.bfloat16:
        return _factor(x_NRC @ x_NRC.mT) @ x_NRC
    for a, b, c in COEFFICIENTS:
        gram_NRR = x_NRC @ x_NRC.mT
        x_NRC = torch.baddbmm(x_NRC, torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c), x_NRC, beta=a)
    return x_NRC


def _factor(gram_NRR: Tensor) -> Tensor:
    """What the iterations multiply matrices with, from XX^T alone: of wide matrices, that is a small square.

    Half of the products of four times as many columns as rows. Squares of singular values need more digits than
    bfloat16 has.
    """
    total_NRR = factor_NRR = None
    for a, b, c in COEFFICIENTS:
        if factor_NRR is not None:
            gram_NRR = factor_NRR @ gram_NRR @ factor_NRR
        factor_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
        factor_NRR.diagonal(dim1=-2, dim2=-1).add_(a)
        total_NRR = factor_NRR if total_NRR is None else factor_NRR @ total_NRR
    assert total_NRR is not None
    return total_NRR


def product_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """What matrices of ``dtype`` are multiplied in: bfloat16 on GPUs that have it, which is exact enough and fast.

    Processors mostly emulate it, at a hundredth of the speed.
    """
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.promote_types(dtype, torch.float32)
