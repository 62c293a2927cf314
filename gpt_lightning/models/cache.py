"""Keys and values of the tokens seen so far, so that a new token costs one row of attention."""

import torch
from torch import Tensor

from gpt_lightning.models.config import GPTConfig

# B batch, L layers, G key/value heads, T tokens, D width of a head


class KVCache:
    """Room for ``block_size`` tokens of every layer, allocated once and filled from the left."""

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (config.n_layer, batch_size, config.kv_heads, config.block_size, config.head_width)
        self._keys_LBGTD = torch.empty(shape, device=device, dtype=dtype)
        self._values_LBGTD = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0
        """Tokens that every layer holds."""

    @property
    def capacity(self) -> int:
        """The most tokens it can hold."""
        return self._keys_LBGTD.size(3)

    def append(self, layer: int, k_BGTD: Tensor, v_BGTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values of ``layer``; return all of that layer's, old and new."""
        end = self.length + k_BGTD.size(2)
        self._keys_LBGTD[layer, :, :, self.length : end] = k_BGTD
        self._values_LBGTD[layer, :, :, self.length : end] = v_BGTD
        return self._keys_LBGTD[layer, :, :, :end], self._values_LBGTD[layer, :, :, :end]

    def advance(self, num_tokens: int) -> None:
        """Count ``num_tokens`` as held, once every layer has appended them."""
        self.length += num_tokens

    def clear(self) -> None:
        """Forget everything; the memory is kept."""
        self.length = 0
