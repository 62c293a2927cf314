"""AdamW as GPTs are trained with it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from gpt_lightning.errors import InputError
from gpt_lightning.optim.groups import parameter_groups


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW (Loshchilov & Hutter 2017, arXiv:1711.05101); the defaults are GPT-3's.

    Attributes:
        lr: the peak learning rate.
        beta1: decay of the gradient's mean, a step.
        beta2: decay of the squared gradient's mean, a step.
        eps: added to the root of the latter.
        weight_decay: decoupled decay of matrices and embeddings; biases and norms never decay.
        max_skipped_steps: how many steps of a run are left out, rather than end it, as their loss or gradients are not
            finite.
    """

    lr: float = 6e-4
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    max_skipped_steps: int = 0

    def __post_init__(self) -> None:
        if self.lr <= 0.0:
            raise InputError(f"optimizer.lr={self.lr} must be positive")
        for name in ("beta1", "beta2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"optimizer.{name}={getattr(self, name)} must lie in [0, 1)")
        for name in ("eps", "weight_decay", "max_skipped_steps"):
            if getattr(self, name) < 0.0:
                raise InputError(f"optimizer.{name}={getattr(self, name)} must be 0 or more")

    def build(self, module: nn.Module, layer: Callable[[str], tuple[int, float]] | None = None) -> torch.optim.AdamW:
        """The optimizer over the parameters of ``module`` that require gradients; see ``parameter_groups``."""
        return torch.optim.AdamW(
            parameter_groups(module, self.weight_decay, layer),
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            fused=True,  # one pass over each parameter, on processors as on GPUs
        )
