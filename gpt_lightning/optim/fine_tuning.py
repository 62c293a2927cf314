"""Freezing and layer-wise learning rates for fine-tuning."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from torch import nn

from gpt_lightning.errors import InputError

_BLOCK: Final = re.compile(r"^backbone\..*blocks\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """What sets fine-tuning apart from training; the defaults train everything alike.

    Attributes:
        freeze: how many blocks from the bottom stay as they are, with the embeddings below them; ``all`` trains the
            head alone.
        layer_lr_decay: each layer learns at this ratio of the rate of the layer above it, the embeddings slowest
            (Howard & Ruder 2018, arXiv:1801.06146); the last norm counts with the head.
        head_lr: the head's own peak rate; None takes ``optimizer.lr``.
    """

    freeze: int | Literal["all"] = 0
    layer_lr_decay: float = 1.0
    head_lr: float | None = None

    def __post_init__(self) -> None:
        if self.freeze != "all" and self.freeze < 0:
            raise InputError(f'fine_tuning.freeze={self.freeze} must be 0 or more, or "all"')
        if not 0.0 < self.layer_lr_decay <= 1.0:
            raise InputError(f"fine_tuning.layer_lr_decay={self.layer_lr_decay} must lie in (0, 1]")
        if self.head_lr is not None and self.head_lr <= 0.0:
            raise InputError(f"fine_tuning.head_lr={self.head_lr} must be positive")

    def freeze_parameters(self, backbone: nn.Module, n_layer: int) -> None:
        """Take what is frozen of ``backbone`` (of ``n_layer`` blocks) out of training.

        Raises:
            InputError: there are not so many blocks.
        """
        if self.freeze == 0:
            return
        if self.freeze != "all" and self.freeze > n_layer:
            raise InputError(
                f'fine_tuning.freeze={self.freeze}, but the backbone has {n_layer} blocks; "all" freezes its norm too'
            )
        for name, parameter in backbone.named_parameters(prefix="backbone"):
            depth = _depth(name, n_layer)
            if self.freeze == "all" or depth <= self.freeze:
                parameter.requires_grad_(False)

    def layer(self, name: str, n_layer: int, lr: float) -> tuple[int, float]:
        """The layer of the parameter ``name``, of a task with ``n_layer`` blocks, and what ``lr`` is multiplied with.

        Layers that learn at one rate by these settings are one.
        """
        if name.startswith("head.") and self.head_lr is not None:
            return n_layer + 2, self.head_lr / lr
        if self.layer_lr_decay == 1.0:
            return 0, 1.0
        depth = n_layer + 1 if name.startswith("head.") else _depth(name, n_layer)
        return depth, float(self.layer_lr_decay ** (n_layer + 1 - depth))


def _depth(name: str, n_layer: int) -> int:
    """0 for the embeddings, 1 for the first block, ``n_layer`` + 1 for what is above the last."""
    if match := _BLOCK.match(name):
        return int(match[1]) + 1
    return 0 if "embedding" in name else n_layer + 1
