"""Effect of each layer or head on a score: its change if the activation is set to zero."""

from collections.abc import Callable
from dataclasses import dataclass

from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.interventions import layer_names, patch


@dataclass(frozen=True)
class Ablation:
    """Score of a model without one of its layers or heads.

    Attributes:
        layer: name of the layer of attention or of the MLP.
        head: index of the head; None for the whole layer.
        score: score without it.
        change: score without it, minus the score of the whole model.
    """

    layer: str
    head: int | None
    score: float
    change: float


def ablate_layers(backbone: GPT, score: Callable[[], float]) -> list[Ablation]:
    """Return the effect of the attention and of the MLP of each block.

    Args:
        backbone: backbone of the model.
        score: function that runs the model and returns its score, such as a loss or a logit.
    """
    names = [name for name in layer_names(backbone) if name.endswith(("attention", ".mlp"))]
    return _ablate(backbone, score, [(name, None) for name in names])


def ablate_heads(backbone: GPT, score: Callable[[], float]) -> list[Ablation]:
    """Return the effect of each head of attention; see ``ablate_layers``."""
    names = [name for name in layer_names(backbone) if name.endswith(".heads")]
    heads = range(backbone.config.n_head)
    return _ablate(backbone, score, [(name, head) for name in names for head in heads])


def _ablate(backbone: GPT, score: Callable[[], float], parts: list[tuple[str, int | None]]) -> list[Ablation]:
    whole, effects = score(), []
    for name, head in parts:
        with patch(backbone, name, 0.0, heads=None if head is None else [head]):
            ablated = score()
        effects.append(Ablation(name.removesuffix(".heads"), head, ablated, ablated - whole))
    return effects
