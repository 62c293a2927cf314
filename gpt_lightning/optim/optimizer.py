"""Configuration of the optimizer."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.optim.groups import parameter_groups
from gpt_lightning.optim.muon import Muon
from gpt_lightning.ranges import check_count, check_number


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW with the settings of GPT-3, or Muon combined with AdamW.

    Attributes:
        kind: ``adamw`` (Loshchilov & Hutter 2017, arXiv:1711.05101) trains all parameters with AdamW. ``muon`` (Jordan
            et al. 2024, https://kellerjordan.github.io/posts/muon/) trains the weight matrices of the transformer
            blocks with Muon and all other parameters with AdamW: embeddings, output layer, heads, norms, biases and
            adapters.
        lr: peak learning rate. Raise it for small models (1e-3); lower it for large models and fine-tuning (1e-5 to
            1e-4).
        beta1: AdamW's decay rate of the running mean of gradients.
        beta2: AdamW's decay rate of the running mean of squared gradients. Use 0.99 or more for small batches.
        eps: AdamW's epsilon, added to the denominator for numerical stability.
        weight_decay: decoupled weight decay of matrices and embeddings. Biases and norms never decay.
        max_skipped_steps: maximum number of optimizer steps that a run may skip because their loss or gradients are not
            finite. One more ends the run; the default, 0, ends it at the first.
        muon_lr: peak learning rate of Muon; null takes ``lr``, since Muon's updates are scaled to the size of AdamW's
            (Liu et al. 2025, arXiv:2502.16982).
        muon_momentum: Muon's decay rate of the running mean of gradients.
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
            if value is not None and not 0.0 < value < math.inf:
                raise InputError(f"optimizer.{name}={value} must be positive")
        for name in ("beta1", "beta2", "muon_momentum"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"optimizer.{name}={getattr(self, name)} must lie in [0, 1)")
        for name in ("eps", "weight_decay"):
            check_number(f"optimizer.{name}", getattr(self, name))
        check_count("optimizer.max_skipped_steps", self.max_skipped_steps, least=0)

    def build(
        self,
        module: nn.Module,
        layer: Callable[[str], tuple[int, float]] | None = None,
        matrices: Mapping[Tensor, Sequence[int]] | None = None,
    ) -> torch.optim.Optimizer:
        """Return the optimizer of all parameters of ``module`` that require gradients.

        Args:
            module: the module that is trained.
            layer: layer index and learning-rate ratio of a parameter; see ``parameter_groups``.
            matrices: the parameters for Muon; see ``parameter_groups``. AdamW ignores it.
        """
        betas = (self.beta1, self.beta2)
        if self.kind == "adamw":
            groups = parameter_groups(module, self.weight_decay, layer)
            # The fused kernel reads each parameter once, on CPUs too.
            return torch.optim.AdamW(groups, lr=self.lr, betas=betas, eps=self.eps, fused=True)
        groups = parameter_groups(module, self.weight_decay, layer, matrices)
        for group in groups:
            if "rows" in group and self.muon_lr is not None:
                group["lr_ratio"] *= self.muon_lr / self.lr
        return Muon(groups, lr=self.lr, betas=betas, eps=self.eps, momentum=self.muon_momentum)
