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
    """Return parameter groups in which matrices and embeddings decay, but biases and norms do not.

    Weight decay would pull the gain of a norm to zero, and a bias has no scale to regularize. Whether a parameter
    decays depends on its name and the type of its module, not on its number of dimensions, because FSDP flattens
    parameters.

    Args:
        module: the module that is trained. Parameters without gradients are left out.
        weight_decay: weight decay of matrices and embeddings.
        layer: maps a parameter's name to the index of its layer and to the ratio of its learning rate to the peak rate.
            None puts all parameters into one layer. Layers with equal ratios keep separate groups, because optimizer
            states in checkpoints depend on the order of the groups.
        matrices: maps each parameter that Muon updates to the row counts of the matrices that are concatenated in it.
            These parameters get groups of their own with the additional key ``rows``.

    Returns:
        Groups for a torch optimizer, with the additional key ``lr_ratio``, from the last layer to the first.
    """
    matrices = {} if matrices is None else matrices
    no_decay_ids = {
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
            key = (depth, parameter in matrices, id(parameter) not in no_decay_ids)
            groups.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0, "lr_ratio": ratios[depth]}
        | ({"rows": [list(matrices[parameter]) for parameter in parameters]} if is_matrix else {})
        for (depth, is_matrix, decays), parameters in sorted(groups.items(), key=lambda group: group[0], reverse=True)
    ]
