"""The contract between data and tasks: what a batch holds.

B rows, T tokens. Data modules make these, tasks read them, and neither imports the other.
"""

from typing import Final, NotRequired, TypedDict

from torch import Tensor

IGNORE_INDEX: Final = -100
"""A label that neither the loss nor any metric sees (the default ``ignore_index`` of torch)."""


class LanguageModelingBatch(TypedDict):
    """Blocks of packed text for next-token prediction."""

    input_ids: Tensor
    """(B, T) int64."""
    labels: Tensor
    """(B, T) int64: the token that follows each position (already shifted), or ``IGNORE_INDEX``."""
    num_bytes: Tensor
    """(B,) int64: UTF-8 bytes spelt by the labelled tokens of a row, for bits per byte."""
    document_ids: NotRequired[Tensor]
    """(B, T) int64, non-decreasing along a row: present when attention must not cross documents."""
