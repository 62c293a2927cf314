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
"""Coefficients of x, x**3 and x**5 for each Newton-Schulz iteration, from Polar Express (Amsel et al. 2025,
arXiv:2505.16932). Their composition is the best approximation of 1 on [0.003, 1]. Each polynomial accepts values 2 %
above the maximum of the previous one, because bfloat16 rounds and the polynomials diverge outside of their range."""

ADAMW_RMS: Final = 0.2
"""Typical root mean square of AdamW's update at learning rate 1; Muon's update is scaled to it."""


class Muon(torch.optim.Optimizer):
    """Muon for groups with ``rows``, AdamW for all other groups.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) orthogonalizes the Nesterov momentum of each
    matrix. The update is scaled by 0.2 * sqrt(max(R, C)) to the size of AdamW's (Liu et al. 2025, arXiv:2502.16982), so
    both can share a learning rate and a weight decay. The other groups give the same result as
    ``torch.optim.AdamW(fused=True)``, bit for bit. Both are one optimizer because Lightning's automatic optimization
    supports only one.

    Args:
        groups: parameter groups, as for torch's optimizers. In a group for Muon, ``rows`` lists for each parameter the
            row counts of the matrices that it stacks, such as those of queries, keys and values.
        lr: learning rate.
        betas: AdamW's decay rates of the running means of gradients and of squared gradients.
        eps: AdamW's epsilon, added to the denominator.
        momentum: Muon's decay rate of the running mean of gradients.
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
        # With fused=True, load_state_dict puts AdamW's step counts on the parameters' device.
        super().__init__(groups, defaults | {"fused": True})
        for group in self.param_groups:
            if group["rows"] is not None:
                sizes = [(p.ndim, p.size(0)) for p in group["params"]]
                assert sizes == [(2, sum(rows)) for rows in group["rows"]], "rows must sum to those of their parameter"

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        updates: list[tuple[Tensor, float]] = []  # matrix and learning rate
        directions: list[Tensor] = []
        for group in self.param_groups:
            if group["rows"] is None:
                self._step_adamw(group)
                continue
            matrices, group_directions = self._momentum(group)
            updates += [(matrix, group["lr"]) for matrix in matrices]
            directions += group_directions
        for (matrix, lr), direction in zip(updates, orthogonalize(directions), strict=True):
            matrix.add_(direction, alpha=-lr * ADAMW_RMS * math.sqrt(max(matrix.shape)))
        return loss

    def _momentum(self, group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
        """Apply weight decay to the matrices of ``group``; return them and their Nesterov momentum."""
        used = [(p, rows) for p, rows in zip(group["params"], group["rows"], strict=True) if p.grad is not None]
        if not used:
            return [], []
        parameters, gradients = [p for p, _ in used], [p.grad for p, _ in used]
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        means = [self.state[p]["momentum_buffer"] for p in parameters]
        torch._foreach_lerp_(means, gradients, 1.0 - group["momentum"])
        nesterov = torch._foreach_lerp(gradients, means, group["momentum"])
        torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])
        matrices = [part for p, rows in used for part in torch.split(p, rows)]
        split = [part for each, (_, rows) in zip(nesterov, used, strict=True) for part in torch.split(each, rows)]
        return matrices, split

    def _step_adamw(self, group: dict[str, Any]) -> None:
        """Update ``group`` with the kernel and the state of ``torch.optim.AdamW(fused=True)``."""
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


def orthogonalize(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return ``matrices`` (R, C) with singular values close to 1.

    U S V^T becomes U S' V^T. S' lies in [0.77, 1.23] wherever S is at least 0.003 of the matrix's norm. An update needs
    no more precision, so few iterations suffice. Zeros stay zeros. Matrices of one shape, transposed or not, are
    computed as one batch.
    """
    wide = [matrix if matrix.size(0) <= matrix.size(1) else matrix.mT for matrix in matrices]
    batches: dict[tuple[torch.Size, torch.device, torch.dtype], list[int]] = {}
    for number, matrix in enumerate(wide):
        batches.setdefault((matrix.shape, matrix.device, matrix.dtype), []).append(number)
    results = list(matrices)
    for (_, device, dtype), numbers in batches.items():
        x_NRC = torch.stack([wide[number] for number in numbers]).to(product_dtype(device, dtype))
        for number, result in zip(numbers, _iterate(x_NRC), strict=True):
            results[number] = result if wide[number] is matrices[number] else result.mT
    return results


def _iterate(x_NRC: Tensor) -> Tensor:
    """Apply the Newton-Schulz iterations, odd polynomials that act on the singular values alone."""
    # Divided by the Frobenius norm, no singular value exceeds 1, the upper bound of the first polynomial.
    x_NRC = x_NRC / torch.linalg.matrix_norm(x_NRC, keepdim=True).clamp(min=1e-7)
    if x_NRC.size(2) >= 2 * x_NRC.size(1) and x_NRC.dtype != torch.bfloat16:
        return _factor(x_NRC @ x_NRC.mT) @ x_NRC
    for a, b, c in COEFFICIENTS:
        gram_NRR = x_NRC @ x_NRC.mT
        x_NRC = torch.baddbmm(x_NRC, torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c), x_NRC, beta=a)
    return x_NRC


def _factor(gram_NRR: Tensor) -> Tensor:
    """Return the matrix F for which F X is the result of all iterations, computed from the Gram matrix X X^T.

    For wide matrices the Gram matrix is small: with four times as many columns as rows, this halves the computation.
    It needs more precision than bfloat16 has, because the Gram matrix has the squares of the singular values.
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
    """Return the dtype in which matrices of ``dtype`` are orthogonalized.

    It is bfloat16 on GPUs that support it, and at least float32 elsewhere. Most CPUs emulate bfloat16, which is a
    hundred times slower.
    """
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.promote_types(dtype, torch.float32)
