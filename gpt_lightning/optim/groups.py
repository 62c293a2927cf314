"""Which parameters decay."""

from torch import nn


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices and embeddings decay; biases and the gains of norms do not.

    Pulling a norm's gain to zero would scale its layer away, and a bias has no scale to regularise. Which is which is
    told by the modules, not by the number of dimensions: sharded parameters (FSDP) are all flat.
    """
    spared = {
        id(parameter)
        for part in module.modules()
        for name, parameter in part.named_parameters(recurse=False)
        if name == "bias" or isinstance(part, nn.LayerNorm | nn.RMSNorm)
    }
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if id(p) not in spared], "weight_decay": weight_decay},
        {"params": [p for p in parameters if id(p) in spared], "weight_decay": 0.0},
    ]
