"""Key/value cache for incremental decoding."""

import torch
from torch import Tensor

from gpt_lightning.models.config import GPTConfig

# B batch, L layers, G key/value heads, T tokens, D width of a head


class KVCache:
    """Room for ``capacity`` tokens of every layer, allocated once and filled from the left.

    Rows may hold different numbers of tokens, each without holes.
    """

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int,
        *,
        capacity: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Allocate it.

        Args:
            config: the model's shape.
            batch_size: rows.
            capacity: the most tokens that a row can hold; None takes ``block_size``.
            device: where the model is.
            dtype: of the keys and values.
        """
        size = config.block_size if capacity is None else capacity
        shape = (config.n_layer, batch_size, config.kv_heads, size, config.head_width)
        # Zeros, not what happens to be in memory: what a mask hides must still be finite, as 0 * nan is nan.
        self._keys_LBGTD = torch.zeros(shape, device=device, dtype=dtype)
        self._values_LBGTD = torch.zeros(shape, device=device, dtype=dtype)
        self.length = 0
        """Tokens that every layer holds, of the longest row."""
        self.lengths_B: Tensor | None = None
        """(B,) int64: tokens of each row; None while all hold ``length``."""

    @property
    def capacity(self) -> int:
        """The most tokens it can hold."""
        return self._keys_LBGTD.size(3)

    def append(self, layer: int, k_BGTD: Tensor, v_BGTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values of ``layer``, each row's after its own; return all of that layer's, old and new."""
        num_tokens = k_BGTD.size(2)
        end = self.length + num_tokens
        keys, values = self._keys_LBGTD[layer], self._values_LBGTD[layer]
        if self.lengths_B is None:
            keys.narrow(2, self.length, num_tokens).copy_(k_BGTD)
            values.narrow(2, self.length, num_tokens).copy_(v_BGTD)
        else:
            rows_B1 = torch.arange(len(self.lengths_B), device=self.lengths_B.device).unsqueeze(1)
            places_BT = self.lengths_B.unsqueeze(1) + torch.arange(num_tokens, device=self.lengths_B.device)
            keys[rows_B1, :, places_BT] = k_BGTD.transpose(1, 2)
            values[rows_B1, :, places_BT] = v_BGTD.transpose(1, 2)
        return keys.narrow(2, 0, end), values.narrow(2, 0, end)

    def advance(self, num_tokens: int, attention_mask: Tensor | None = None) -> None:
        """Count new tokens as held, once every layer has appended them.

        Args:
            num_tokens: T, how many were appended to each row.
            attention_mask: (B, T), nonzero for real tokens. The padding behind them is overwritten later.
        """
        if attention_mask is not None:
            held = self.length if self.lengths_B is None else self.lengths_B
            self.lengths_B = held + attention_mask.bool().sum(1)
            self.length = int(self.lengths_B.max())
        else:
            self.length += num_tokens
            self.lengths_B = None if self.lengths_B is None else self.lengths_B + num_tokens

    def forget(self, num_tokens: int) -> None:
        """Forget the last tokens of each row, where all hold as many."""
        assert self.lengths_B is None
        self.length -= num_tokens

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these, (K,) int64, which are numbered anew."""
        self._keys_LBGTD = self._keys_LBGTD[:, rows]
        self._values_LBGTD = self._values_LBGTD[:, rows]
        if self.lengths_B is not None:
            self.lengths_B = self.lengths_B[rows]
            self.length = int(self.lengths_B.max())

    def clear(self) -> None:
        """Forget everything; the memory is kept."""
        self.length, self.lengths_B = 0, None
