"""Observation of the calls of scaled dot-product attention in a forward pass."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class AttentionCall(NamedTuple):
    """Arguments of ``scaled_dot_product_attention``, in the order of torch."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None = None
    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False


class AttentionCalls(TorchFunctionMode, ABC):
    """Context manager that shows each call of attention to ``observe``. The results of the model stay the same."""

    @abstractmethod
    def observe(self, call: AttentionCall) -> None:
        """Read the arguments of a call, before it."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, and observe it if it is attention."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self.observe(AttentionCall(*args, **kwargs))
        return func(*args, **kwargs)
