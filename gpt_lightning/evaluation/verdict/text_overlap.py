"""Share of a text that occurs word for word in a training text, for language models."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.data.document_split import normalize_text

Hashes = NDArray[np.uint64]

LENGTH: Final = 50
"""Number of characters of a passage. Texts share shorter ones, such as common phrases, by chance."""
MAX_PASSAGES: Final = 100_000
"""Number of passages of the tested text that are searched."""
MAX_TRAIN_CHARACTERS: Final = 50_000_000
"""Number of characters of the training text in which they are searched."""
_FACTOR: Final = 0x9E3779B97F4A7C15
_INVERSE: Final = pow(_FACTOR, -1, 1 << 64)
_NUM_BITS: Final = 22
_MASK: Final = np.uint64((1 << _NUM_BITS) - 1)


@dataclass(frozen=True)
class TextOverlap:
    """Passages of the tested text that also occur in the training text.

    Attributes:
        num_passages: number of passages of 50 characters, one after the other, from the start of the tested text.
        num_found: number of them that occur anywhere in the training text.
        is_complete: False if only the beginning of a text was read.
    """

    num_passages: int
    num_found: int
    is_complete: bool


def text_overlap(train: Iterable[str], tested: Iterable[str]) -> TextOverlap:
    """Return how much of a text occurs in a training text, apart from case and whitespace.

    Equal 64-bit hashes stand for equal passages: with the largest texts that are read, one of 1,000,000 searches finds
    a passage that is not there.

    Args:
        train: the training text in pieces.
        tested: the tested text in pieces; a passage does not cross two pieces.
    """
    wanted, is_all_tested = _passages(tested)
    search = _Search(wanted)
    num_read, is_all_train = 0, True
    for piece in train:
        if num_read >= MAX_TRAIN_CHARACTERS:
            is_all_train = False
            break
        text = normalize_text(piece)
        num_read += len(text)
        search.add(passage_hashes(text))
    return TextOverlap(len(wanted), search.num_found(wanted), is_all_tested and is_all_train)


class _Search:
    """Set of hashes, and which of them have been found.

    Args:
        wanted: the hashes.
    """

    def __init__(self, wanted: Hashes) -> None:
        self._ordered = np.unique(wanted)
        self._is_found = np.zeros(len(self._ordered), dtype=np.bool_)
        # The last bits of a hash tell at once that most hashes are not in the set.
        self._bits = np.zeros(1 << _NUM_BITS, dtype=np.bool_)
        self._bits[self._ordered & _MASK] = True

    def add(self, hashes: Hashes) -> None:
        """Mark those of the wanted hashes that are among ``hashes``."""
        if not len(self._ordered):
            return
        hashes = hashes[self._bits[hashes & _MASK]]
        places = np.minimum(np.searchsorted(self._ordered, hashes), len(self._ordered) - 1)
        self._is_found[places[self._ordered[places] == hashes]] = True

    def num_found(self, wanted: Hashes) -> int:
        """Return how many of ``wanted``, with repetitions, have been found."""
        return int(np.isin(wanted, self._ordered[self._is_found]).sum())


def passage_hashes(text: str) -> Hashes:
    """Return a hash of each passage of a text, at every position.

    The hash is a polynomial of the character codes modulo 2 ** 64. The factor is odd, so it has an inverse, and the
    difference of two prefix sums gives the hash of any passage.
    """
    codes = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < LENGTH:
        return np.zeros(0, dtype=np.uint64)
    inverse_powers, powers = (_powers(factor, len(codes)) for factor in (_INVERSE, _FACTOR))
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(codes * inverse_powers, dtype=np.uint64)])
    hashes: Hashes = (sums[LENGTH:] - sums[:-LENGTH]) * powers[LENGTH - 1 :]
    return hashes


def _powers(factor: int, count: int) -> Hashes:
    """Return the powers 0, 1, ... of a factor modulo 2 ** 64."""
    factors = np.full(count, factor, dtype=np.uint64)
    factors[0] = 1
    powers: Hashes = np.cumprod(factors, dtype=np.uint64)
    return powers


def _passages(pieces: Iterable[str]) -> tuple[Hashes, bool]:
    """Return the hashes of passages one after the other, and whether they cover all pieces."""
    found: list[Hashes] = [np.zeros(0, dtype=np.uint64)]
    total = 0
    for piece in pieces:
        if total >= MAX_PASSAGES:
            return np.concatenate(found)[:MAX_PASSAGES], False
        found.append(passage_hashes(normalize_text(piece))[::LENGTH])
        total += len(found[-1])
    return np.concatenate(found)[:MAX_PASSAGES], total <= MAX_PASSAGES
