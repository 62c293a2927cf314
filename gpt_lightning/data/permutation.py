"""Pseudo-random permutations that are computed instead of stored."""

import hashlib

import numpy as np
from numpy.typing import NDArray

ROUNDS = 8
"""Rounds of the Feistel network. Four suffice for large sizes, but bias the orders of a handful of blocks."""


class Permutation:
    """Pseudo-random permutation of ``range(size)`` that depends only on its key.

    A Feistel network permutes ``range(n)``, where n is the next power of four. Results outside ``range(size)`` are
    encrypted again until they are inside (Black & Rogaway 2002, "Ciphers with arbitrary finite domains"). Any entry is
    therefore computed directly, in constant memory for any size.

    Args:
        size: number of entries.
        key: integers that determine the permutation, such as seed and epoch.
    """

    def __init__(self, size: int, *key: int) -> None:
        self.size = size
        self._half_bits = np.uint64(max(1, (max(size - 1, 1).bit_length() + 1) // 2))
        self._mask = np.uint64((1 << int(self._half_bits)) - 1)
        digest = hashlib.sha512(repr(key).encode()).digest()
        self._round_keys = np.frombuffer(digest, dtype="<u8")[:ROUNDS]

    def __getitem__(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the entries at ``indices``, which must be in ``range(size)``."""
        values = self._encrypt(indices.astype(np.uint64))
        while (outside := values >= self.size).any():
            values[outside] = self._encrypt(values[outside])
        return values.astype(np.int64)

    def _encrypt(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = values >> self._half_bits, values & self._mask
        for key in self._round_keys:
            left, right = right, left ^ (_mix(right ^ key) & self._mask)
        return (left << self._half_bits) | right


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply the finalizer of splitmix64, in which every input bit affects every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
