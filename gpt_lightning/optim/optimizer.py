"""``OptimizerConfig``: the optimizer's settings, and building it from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.optim.groups import parameter_groups
from gpt_lightning.optim.muon import Muon


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW (Loshchilov & Hutter 2017, arXiv:1711.05101), with GPT-3's settings; or Muon beside it.

    Attributes:
        kind: ``adamw`` for all parameters; or ``muon``, which moves the matrices inside the blocks by Muon (Jordan et
            al. 2024, https://kellerjordan.github.io/posts/muon/) and everything else, such as embeddings, the output
            layer, norms, biases, heads and adapters, by AdamW.
        lr: the peak learning rate.
        beta1: of AdamW: decay of the gradient's mean, a step.
        beta2: of AdamW: decay of the squared gradient's mean, a step.
        eps: of AdamW: added to the root of the latter.
        weight_decay: decoupled decay of matrices and embeddings; biases and norms never decay.
        max_skipped_steps: how many steps of a run are left out, rather than end it, as their loss or gradients are not
            finite.
        muon_lr: of Muon: the peak learning rate; None takes ``lr``. Its steps are as long as AdamW's at the same rate
            (Liu et al. 2025, arXiv:2502.16982).
        muon_momentum: of Muon: decay of the gradient's mean, a step.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    lr: float = 6e-4
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    max_skipped_steps: int = 0
    muon_lr: float | None = None
    muon_momentum: float = 0.95

    def __post_init__(self) -> None:
        for name in ("lr", "muon_lr"):
            value = getattr(self, name)
            if value is not None and value <= 0.0:
                raise InputError(f"optimizer.{name}={value} must be positive")
        for name in ("beta1", "beta2", "muon_momentum"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"optimizer.{name}={getattr(self, name)} must lie in [0, 1)")
        for name in ("eps", "weight_decay", "max_skipped_steps"):
            if getattr(self, name) < 0.0:
                raise InputError(f"optimizer.{name}={getattr(self, name)} must be 0 or more")

    def build(
        self,
        module: nn.Module,
        layer: Callable[[str], tuple[int, float]] | None = None,
        matrices: Mapping[Tensor, Sequence[int]] | None = None,
    ) -> torch.optim.Optimizer:
        """The optimizer over the parameters of ``module`` that require gradients.

        Args:
            module: whose parameters.
            layer: of a parameter; see ``parameter_groups``.
            matrices: what Muon moves, if it is asked for, and the rows of what is one matrix within each.
        """
        betas = (self.beta1, self.beta2)
        if self.kind == "adamw":
            groups = parameter_groups(module, self.weight_decay, layer)
            # Fused: one pass over each parameter, on processors as on GPUs.
            return torch.optim.AdamW(groups, lr=self.lr, betas=betas, eps=self.eps, fused=True)
        groups = parameter_groups(module, self.weight_decay, layer, matrices)
        for group in groups:
            if "rows" in group and self.muon_lr is not None:
                group["lr_ratio"] *= self.muon_lr / self.lr
        return Muon(groups, lr=self.lr, betas=betas, eps=self.eps, momentum=self.muon_momentum)
