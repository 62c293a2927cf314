"""Freezing and layer-wise learning rates for fine-tuning."""

import math
import re
from dataclasses import dataclass
from typing import Final, Literal

from torch import nn

from gpt_lightning.errors import InputError

_BLOCK: Final = re.compile(r"^backbone\..*blocks\.(\d+)\.")
_CROSS: Final = re.compile(r"\.cross_(attention|norm|post_norm)\.")


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Freezing and layer-wise learning rates; the defaults train all parameters at the same rate.

    Attributes:
        freeze: number of transformer blocks to freeze, counted from the embeddings, which are frozen with them. ``all``
            freezes the whole backbone and trains only the head. Freeze blocks to save memory and time, or if the
            dataset is so small that the model overfits. In an encoder-decoder, the blocks of both sides are frozen, but
            cross-attention never is (Gheini et al. 2021, arXiv:2104.08771).
        layer_lr_decay: layer-wise learning-rate decay (Howard & Ruder 2018, arXiv:1801.06146): the rate of each layer
            is this fraction of the rate of the layer above it, so the embeddings learn most slowly. The final norm has
            the rate of the head. The default, 1, turns it off; 0.8 to 0.95 is usual for pretrained models.
        head_lr: peak learning rate of the head; null takes ``optimizer.lr``. A new head on a pretrained backbone often
            learns better with a higher rate.
    """

    freeze: int | Literal["all"] = 0
    layer_lr_decay: float = 1.0
    head_lr: float | None = None

    def __post_init__(self) -> None:
        if self.freeze != "all" and self.freeze < 0:
            raise InputError(f'fine_tuning.freeze={self.freeze} must be 0 or more, or "all"')
        if not 0.0 < self.layer_lr_decay <= 1.0:
            raise InputError(f"fine_tuning.layer_lr_decay={self.layer_lr_decay} must lie in (0, 1]")
        if self.head_lr is not None and not 0.0 < self.head_lr < math.inf:
            raise InputError(f"fine_tuning.head_lr={self.head_lr} must be positive")

    def freeze_parameters(self, backbone: nn.Module, n_layer: int) -> None:
        """Turn off the gradients of the frozen layers of ``backbone``, which has ``n_layer`` blocks on its deeper side.

        Raises:
            InputError: ``freeze`` exceeds the number of blocks.
        """
        if self.freeze == 0:
            return
        if self.freeze != "all" and self.freeze > n_layer:
            raise InputError(
                f"fine_tuning.freeze={self.freeze}, but the backbone has {n_layer} blocks. "
                f'Set it to at most {n_layer}, or to "all", which freezes the final norm too'
            )
        for name, parameter in backbone.named_parameters(prefix="backbone"):
            depth = _depth(name, n_layer)
            if (self.freeze == "all" or depth <= self.freeze) and not _CROSS.search(name):
                parameter.requires_grad_(False)

    def layer(self, name: str, n_layer: int, lr: float) -> tuple[int, float]:
        """Return the layer index of a parameter and the ratio of its learning rate to ``lr``.

        Layers for which these settings prescribe the same rate share one index.

        Args:
            name: the parameter's name in the task, such as ``head.weight``.
            n_layer: number of transformer blocks of the task, on its deeper side.
            lr: the peak learning rate of the optimizer.
        """
        if name.startswith("head.") and self.head_lr is not None:
            return n_layer + 2, self.head_lr / lr
        if self.layer_lr_decay == 1.0:
            return 0, 1.0
        depth = n_layer + 1 if name.startswith("head.") else _depth(name, n_layer)
        return depth, float(self.layer_lr_decay ** (n_layer + 1 - depth))


def _depth(name: str, n_layer: int) -> int:
    """Return 0 for the embeddings, 1 for the first block and ``n_layer + 1`` for everything above the last block."""
    if match := _BLOCK.match(name):
        return int(match[1]) + 1
    return 0 if "embedding" in name else n_layer + 1
