"""Key/value cache of a decoder with cross-attention."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.kv_cache import KVCache

# B batch, G key/value heads, S source tokens, D channels of a head


class SourceCache(KVCache):
    """Keys and values of earlier target tokens, and of the sources. Those of the sources are computed once.

    Args:
        config: the configuration of the backbone.
        batch_size: number of rows.
        sources: keys and values of the sources in each layer, (B, G, S, D) each.
        source_mask: (B, 1, 1, S) bool, False for padding; None without padding.
        **options: capacity, device and dtype, as for ``KVCache``.
    """

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int,
        sources: Sequence[tuple[Tensor, Tensor]],
        source_mask: Tensor | None,
        **options: Any,
    ) -> None:
        super().__init__(config, batch_size, **options)
        self.sources = list(sources)
        self.source_mask = source_mask
        self._source_of_B = torch.arange(batch_size, device=sources[0][0].device)

    def select_rows(self, rows: Tensor) -> None:
        """Keep only the rows with the indices ``rows``, (K,) int64, in this order, and their sources."""
        super().select_rows(rows)
        self._select_sources(rows)

    def reorder(self, rows: Tensor) -> None:
        """Replace each row with a copy of another one; see ``KVCache``. Sources are copied only if they differ."""
        super().reorder(rows)
        if not self._source_of_B[rows].equal(self._source_of_B):
            self._select_sources(rows)

    def _select_sources(self, rows: Tensor) -> None:
        self._source_of_B = self._source_of_B[rows]
        self.sources = [(keys[rows], values[rows]) for keys, values in self.sources]
        self.source_mask = None if self.source_mask is None else self.source_mask[rows]
