"""Rows of the test split that occur in the training split, exactly or nearly, and rows with contradictory labels."""

import importlib.util
import zlib
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

NUM_CHARACTERS: Final = 5
THRESHOLD: Final = 0.8
"""Jaccard similarity of the sets of character 5-grams from which two texts are near duplicates."""
MAX_TRAIN: Final = 20_000
"""Number of training texts that near duplicates are searched in; exact duplicates are searched in all."""
MAX_TEST: Final = 5_000
"""Number of test texts whose near duplicates are searched."""
MAX_LENGTH: Final = 5_000
"""Number of characters of a text that are compared."""
_BANDS: Final = (16, 4)
"""Bands of locality-sensitive hashing and their rows, which miss one of 4,000 pairs with similarity 0.8."""
_MAX_CANDIDATES: Final = 50
"""Number of candidates that each test text is compared with."""


def is_installed() -> bool:
    """Return whether datasketch, which finds near duplicates, is installed."""
    return importlib.util.find_spec("datasketch") is not None


def shingles(text: str) -> frozenset[str]:
    """Return the character 5-grams of a normalized text; a shorter text is its own."""
    text = text[:MAX_LENGTH]
    return frozenset(text[start : start + NUM_CHARACTERS] for start in range(max(1, len(text) - NUM_CHARACTERS + 1)))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Return the size of the intersection of two sets divided by that of their union."""
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)


def near_duplicates(train: Sequence[str], texts: Sequence[str]) -> list[int]:
    """Return the index of the most similar training text for each text with a near duplicate; -1 for the others.

    MinHash (Broder 1997) with locality-sensitive hashing proposes candidates. Only those whose exact similarity reaches
    the threshold are returned.

    Args:
        train: normalized training texts, without duplicates.
        texts: normalized texts, none of which is in ``train``.
    """
    from datasketch import MinHash, MinHashLSH

    def sketches(chosen: Sequence[str]) -> Any:
        encoded = ([each.encode(errors="surrogatepass") for each in shingles(text)] for text in chosen)
        return MinHash.generator(encoded, num_perm=_BANDS[0] * _BANDS[1], hashfunc=zlib.crc32)

    index = MinHashLSH(num_perm=_BANDS[0] * _BANDS[1], params=_BANDS)
    for number, sketch in enumerate(sketches(train)):
        index.insert(number, sketch)
    found = []
    for text, sketch in zip(texts, sketches(texts), strict=True):
        own = shingles(text)
        candidates = sorted(index.query(sketch))[:_MAX_CANDIDATES]
        similarities = {number: jaccard(own, shingles(train[number])) for number in candidates}
        best = max(similarities, key=similarities.__getitem__, default=-1)
        found.append(best if best >= 0 and similarities[best] >= THRESHOLD else -1)
    return found


def contradictions(texts: Sequence[str], labels: Sequence[Hashable]) -> list[list[int]]:
    """Return the indices of the rows of each text that has different labels.

    Args:
        texts: normalized texts.
        labels: their labels.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        groups[text].append(row)
    return [rows for rows in groups.values() if len({labels[row] for row in rows}) > 1]


def contradicted_rows(
    train: Mapping[str, set[Hashable]], texts: Sequence[str], labels: Sequence[Hashable]
) -> list[int]:
    """Return the rows whose text occurs in training, but never with their label.

    Args:
        train: normalized training text -> its labels.
        texts: normalized texts.
        labels: their labels.
    """
    pairs = enumerate(zip(texts, labels, strict=True))
    return [row for row, (text, label) in pairs if text in train and label not in train[text]]
