"""Which parameters decay, and how fast each learns."""

from collections.abc import Callable

from torch import nn


def parameter_groups(
    module: nn.Module, weight_decay: float, lr_ratio: Callable[[str], float] | None = None
) -> list[dict[str, object]]:
    """Matrices and embeddings decay; biases and the gains of norms do not.

    Pulling a norm's gain to zero would scale its layer away, and a bias has no scale to regularise. Which is which is
    told by the modules, not by the number of dimensions: sharded parameters (FSDP) are all flat.

    Args:
        module: whose parameters, as far as they require gradients.
        weight_decay: of those that decay.
        lr_ratio: from a parameter's name to its learning rate, as a part of the peak; None is 1 for all.
    """
    spared = {
        id(parameter)
        for part in module.modules()
        for name, parameter in part.named_parameters(recurse=False)
        if name == "bias" or isinstance(part, nn.LayerNorm | nn.RMSNorm)
    }
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            ratio = 1.0 if lr_ratio is None else lr_ratio(name)
            groups.setdefault((ratio, id(parameter) not in spared), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0, "lr_ratio": ratio}
        # Sorted, so that the order does not hang on that of the modules: checkpoints hold it.
        for (ratio, decays), parameters in sorted(groups.items(), key=lambda group: group[0], reverse=True)
    ]
