"""Key/value cache for incremental decoding."""

import torch
from torch import Tensor

from gpt_lightning.models.config import GPTConfig

# B batch, L layers, G key/value heads, T tokens, D channels of a head


class KVCache:
    """Keys and values of earlier tokens, for all layers.

    Memory for ``capacity`` tokens is allocated once and filled from the left. Rows may hold different numbers of
    tokens.

    Args:
        config: the configuration of the backbone.
        batch_size: number of rows.
        capacity: maximum number of tokens per row; None takes ``block_size``.
        device: device of the model.
        dtype: dtype of keys and values.
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
        size = config.block_size if capacity is None else capacity
        shape = (config.n_layer, batch_size, config.kv_heads, size, config.head_width)
        # Masked slots must be finite, because 0 * nan is nan, so the memory starts with zeros.
        self._keys_LBGTD = torch.zeros(shape, device=device, dtype=dtype)
        self._values_LBGTD = torch.zeros(shape, device=device, dtype=dtype)
        self.length = 0
        """Number of cached tokens of the longest row."""
        self.lengths_B: Tensor | None = None
        """(B,) int64, the number of cached tokens of each row; None if all rows hold ``length``."""

    @property
    def capacity(self) -> int:
        """Maximum number of tokens per row."""
        return self._keys_LBGTD.size(3)

    @property
    def device(self) -> torch.device:
        """Device of keys and values."""
        return self._keys_LBGTD.device

    def append(self, layer: int, k_BGTD: Tensor, v_BGTD: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values of new tokens to a layer, and return all of the layer's, (B, G, length + T, D) each.

        ``advance`` must follow after all layers have appended.
        """
        num_tokens = k_BGTD.size(2)
        end = self.length + num_tokens
        keys, values = self._keys_LBGTD[layer], self._values_LBGTD[layer]
        if self.lengths_B is None:
            keys.narrow(2, self.length, num_tokens).copy_(k_BGTD)
            values.narrow(2, self.length, num_tokens).copy_(v_BGTD)
        else:
            rows_B1 = torch.arange(len(self.lengths_B), device=self.lengths_B.device).unsqueeze(1)
            slots_BT = self.lengths_B.unsqueeze(1) + torch.arange(num_tokens, device=self.lengths_B.device)
            keys[rows_B1, :, slots_BT] = k_BGTD.transpose(1, 2)
            values[rows_B1, :, slots_BT] = v_BGTD.transpose(1, 2)
        return keys.narrow(2, 0, end), values.narrow(2, 0, end)

    def advance(self, num_tokens: int, attention_mask: Tensor | None = None) -> None:
        """Update the lengths after all layers have appended their keys and values.

        Args:
            num_tokens: T, the number of tokens that were appended to each row.
            attention_mask: (B, T), nonzero for tokens, 0 for padding, which later tokens overwrite.
        """
        if attention_mask is not None:
            previous = self.length if self.lengths_B is None else self.lengths_B
            self.lengths_B = previous + attention_mask.bool().sum(1)
            self.length = int(self.lengths_B.max())
        else:
            self.length += num_tokens
            self.lengths_B = None if self.lengths_B is None else self.lengths_B + num_tokens

    def drop_last(self, num_tokens: int) -> None:
        """Remove the last tokens of each row; all rows must have the same length."""
        assert self.lengths_B is None
        self.length -= num_tokens

    def select_rows(self, rows: Tensor) -> None:
        """Keep only the rows with the indices ``rows``, (K,) int64, in this order."""
        self._keys_LBGTD = self._keys_LBGTD[:, rows]
        self._values_LBGTD = self._values_LBGTD[:, rows]
        if self.lengths_B is not None:
            self.lengths_B = self.lengths_B[rows]
            self.length = int(self.lengths_B.max())

    def reorder(self, rows: Tensor) -> None:
        """Replace each row by a copy of another one, in place; the memory of unused slots is not touched.

        Args:
            rows: (B,) int64, the index of the row to copy for each row.
        """
        targets = (rows != torch.arange(len(rows), device=rows.device)).nonzero().squeeze(1)
        sources = rows[targets]
        for memory in (self._keys_LBGTD, self._values_LBGTD):
            used = memory.narrow(3, 0, self.length)
            used[:, targets] = used[:, sources]
        if self.lengths_B is not None:
            self.lengths_B = self.lengths_B[rows]
            self.length = int(self.lengths_B.max())

    def clear(self) -> None:
        """Remove all tokens; the memory stays allocated."""
        self.length, self.lengths_B = 0, None
