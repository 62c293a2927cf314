"""Which parameters decay."""

from torch import nn


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices and embeddings decay; biases and norms, all one-dimensional, do not.

    Pulling a norm's gain to zero would scale its layer away, and a bias has no scale to regularise.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
