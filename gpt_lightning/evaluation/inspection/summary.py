"""Numbers of an inspected split in words."""

import statistics
from collections.abc import Sequence
from typing import Final

import numpy as np

from gpt_lightning.evaluation.inspection.inspection import InspectedSplit

_BINS: Final = 10


def facts(split: InspectedSplit) -> str:
    """Return the statistics of a split in one sentence."""
    found = split.statistics
    parts = [f"{found.num_rows:,} rows, {found.num_tokens:,} tokens"]
    if found.lengths:
        low, high, middle = min(found.lengths), max(found.lengths), statistics.median(found.lengths)
        texts = "" if len(found.lengths) == found.num_rows else f"{len(found.lengths):,} texts of "
        parts.append(f"{texts}{low:,} to {high:,} tokens each (median {middle:,.0f})")
    if not found.label_counts and not found.numbers:
        parts.append(f"trained tokens {found.trained_share:.1%}")
    parts += [
        f"padding {found.padding_share:.1%}",
        f"unknown tokens {found.unknown_share:.1%}",
        f"{found.tokens_per_word:.2f} tokens per word",
    ]
    return "; ".join(parts) + ("" if split.is_complete else " (of the first tokens)")


def length_bins(lengths: Sequence[int], bins: int = _BINS) -> dict[str, int]:
    """Return how many texts have a length in each of some ranges of equal width, such as ``10-19``."""
    if not lengths:
        return {}
    low, high = min(lengths), max(lengths)
    width = max(1, -(-(high - low + 1) // bins))
    counts = [0] * -(-(high - low + 1) // width)
    for length in lengths:
        counts[(length - low) // width] += 1
    starts = [low + number * width for number in range(len(counts))]
    return {
        str(start) if width == 1 else f"{start:,}-{start + width - 1:,}": count
        for start, count in zip(starts, counts, strict=True)
    }


def number_bins(numbers: Sequence[float], bins: int = _BINS) -> dict[str, int]:
    """Return how many numbers are in each of some ranges of equal width, such as ``0.5 to 1``."""
    counts, edges = np.histogram(np.asarray(numbers), bins=bins)
    return {
        f"{start:.3g} to {stop:.3g}": int(count)
        for start, stop, count in zip(edges[:-1], edges[1:], counts, strict=True)
    }
