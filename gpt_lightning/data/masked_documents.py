"""Search for documents in the training text by their text or their location, and for their tokens."""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.data.named_rows import HEAD, KEY, Document, Named
from gpt_lightning.data.shards import TokenStream
from gpt_lightning.data.sources.documents import Piece
from gpt_lightning.errors import InputError

_CHUNK: Final = 1 << 22
"""Number of tokens that are searched at a time."""


def read_documents(pieces: Iterable[Piece]) -> Iterator[Named]:
    """Yield the text, as head and digest, and the location of each document."""
    head, where, digest = "", "", None
    for piece in pieces:
        if piece.starts_document:
            if digest is not None:
                yield Named(Document(head, digest.hexdigest()), where)
            head, where, digest = piece.text[:HEAD], piece.where, hashlib.sha256()
        assert digest is not None, "a text begins with a document"
        digest.update(piece.text.encode(errors="surrogatepass"))
    if digest is not None:
        yield Named(Document(head, digest.hexdigest()), where)


def token_ranges(stream: TokenStream, end_of_text_id: int, documents: Collection[int]) -> NDArray[np.int64]:
    """Return the ranges of tokens, (n, 2), of documents without the end-of-text tokens around them.

    Args:
        stream: tokens of the training text, or its first part.
        end_of_text_id: id of the token before each document and at the end.
        documents: numbers of documents, from 0. Those after the end of ``stream`` are left out.

    Raises:
        InputError: the tokenizer also gives the id to text, so that documents cannot be found.
    """
    whole, size = TokenStream(stream.folder), len(stream)  # only the whole has a known number of documents
    parts = [
        first + np.flatnonzero(whole.slice(first, min(first + _CHUNK, len(whole))) == end_of_text_id)
        for first in range(0, len(whole), _CHUNK)
    ]
    ends = np.concatenate(parts)
    if len(ends) > whole.num_documents + 1:
        raise InputError(f"{KEY}: the text has end-of-text tokens inside of documents, so they cannot be found")
    ends = ends[ends < size]
    starts, stops = ends + 1, np.append(ends[1:], size)
    chosen = np.array([number for number in sorted(documents) if number < len(starts)], dtype=np.int64)
    ranges = np.stack((starts[chosen], stops[chosen]), axis=1)
    return ranges[ranges[:, 0] < ranges[:, 1]]
