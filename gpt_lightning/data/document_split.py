"""Division of rows and documents into training and validation by a hash of their text.

Equal texts have equal hashes, so that a text is never on both sides. Case, Unicode form and whitespace do not matter.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from gpt_lightning.data.sources.documents import Piece
from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home

_KEY_CHARACTERS: Final = 1 << 14
"""Number of characters that a document is recognized by. Longer documents are not read before they are assigned."""

_MAX_COUNTED: Final = 10_000
"""Number of distinct documents above which the part of the hashes is close enough to the part of the documents."""

_HASHES: Final = 1 << 64


class Part(NamedTuple):
    """Documents of one side."""

    side: Literal["train", "validation"]
    fraction: float
    """Part of the documents that validate, in (0, 1)."""


def part_of_train(validation: object) -> float | None:
    """Return the part of the training texts to hold out, if that is what ``--data.validation`` gives, and not a source.

    Raises:
        InputError: it is a number outside of (0, 1).
    """
    if isinstance(validation, str) and (not validation[:1].isdigit() or expand_home(validation).exists()):
        return None
    try:
        value = float(validation) if isinstance(validation, str | int | float) else None
    except ValueError:  # a file that is missing
        return None
    if value is not None and not 0.0 < value < 1.0:
        raise InputError(f"--data.validation={validation} must be between 0 and 1, such as 0.1, or name a source")
    return value


def normalize_text(text: str) -> str:
    """Return a text in lower case, in Unicode form NFKC and with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_hash(text: str, limit: int | None = None) -> int:
    """Return a 64-bit hash of a text.

    Args:
        text: the text.
        limit: number of leading characters to compare; None compares all.
    """
    key = normalize_text(text)[:limit]
    return int.from_bytes(hashlib.sha256(key.encode(errors="surrogatepass")).digest()[:8], "big")


def validation_threshold(hashes: Iterable[int], fraction: float) -> int:
    """Return the threshold below which hashes are for validation; 0 if there are fewer than two distinct ones.

    It gives ``fraction`` of the distinct texts to validation, but at least one to each side. Of many texts only the
    first ones are read, and the threshold is the same part of all hashes.

    Args:
        hashes: the hashes of texts.
        fraction: part of the texts for validation, in (0, 1).
    """
    distinct: set[int] = set()
    for value in hashes:
        distinct.add(value)
        if len(distinct) > _MAX_COUNTED:
            return round(fraction * _HASHES)
    count = min(max(1, round(fraction * len(distinct))), len(distinct) - 1)
    return sorted(distinct)[count] if count > 0 else 0


def documents_of(part: Part, pieces: Iterable[Piece], again: Iterable[Piece]) -> Iterator[Piece]:
    """Yield the pieces of the documents of one side.

    Args:
        part: the side.
        pieces: the pieces of all documents.
        again: the same pieces, to choose the threshold.
    """
    threshold = validation_threshold(
        (text_hash(piece.text, _KEY_CHARACTERS) for piece in again if piece.starts_document), part.fraction
    )
    is_taken = False
    for piece in pieces:
        if piece.starts_document:
            is_taken = (text_hash(piece.text, _KEY_CHARACTERS) < threshold) == (part.side == "validation")
        if is_taken:
            yield piece
