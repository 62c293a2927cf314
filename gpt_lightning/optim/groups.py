"""Parameter groups: weight decay, learning-rate ratios, matrices for Muon."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn


def parameter_groups(
    module: nn.Module,
    weight_decay: float,
    layer: Callable[[str], tuple[int, float]] | None = None,
    matrices: Mapping[Tensor, Sequence[int]] | None = None,
) -> list[dict[str, Any]]:
    """Matrices and embeddings decay; biases and the gains of norms do not.

    Pulling a norm's gain to zero would scale its layer away, and a bias has no scale to regularise. Which is which is
    told by the modules, not by the number of dimensions: sharded parameters (FSDP) are all flat.

    Args:
        module: whose parameters, as far as they require gradients.
        weight_decay: of those that decay.
        layer: from a parameter's name to the number of its layer and to its learning rate, as a part of the peak. None
            is one layer for all. Groups follow the layers, whatever the rates: a checkpoint counts on their order.
        matrices: those that have groups of their own, with ``rows``, their values here. None of them is spared.
    """
    matrices = {} if matrices is None else matrices
    spared = {
        id(parameter)
        for part in module.modules()
        for name, parameter in part.named_parameters(recurse=False)
        if name == "bias" or isinstance(part, nn.LayerNorm | nn.RMSNorm)
    }
    groups: dict[tuple[int, bool, bool], list[nn.Parameter]] = {}
    ratios = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            depth, ratio = (0, 1.0) if layer is None else layer(name)
            ratios[depth] = ratio
            key = (depth, parameter in matrices, id(parameter) not in spared)
            groups.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0, "lr_ratio": ratios[depth]}
        | ({"rows": [list(matrices[parameter]) for parameter in parameters]} if is_matrix else {})
        for (depth, is_matrix, decays), parameters in sorted(groups.items(), key=lambda group: group[0], reverse=True)
    ]
