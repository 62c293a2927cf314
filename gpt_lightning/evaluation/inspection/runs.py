"""Tokens of a row in runs: neighboring tokens of the same kind, as text."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from gpt_lightning.evaluation.inspection.token_rows import ANSWER, TokenRow
from gpt_lightning.tokenizers.token_texts import token_texts
from gpt_lightning.tokenizers.tokenizer import Tokenizer

Kind = Literal["context", "trained", "answer", "text"]


class Piece(NamedTuple):
    """Token of a row as text."""

    text: str
    is_trained: bool
    note: str
    """Label of the token; empty without one."""
    begins_document: bool


class Run(NamedTuple):
    """Neighboring tokens of the same kind."""

    kind: Kind
    """``context`` and ``trained`` or ``answer``, or ``text`` if the row or its words have labels."""
    pieces: tuple[Piece, ...]
    begins_document: bool


def pieces(row: TokenRow, tokenizer: Tokenizer) -> list[Piece]:
    """Return the tokens of a row as text."""
    borders = frozenset(row.borders)
    return [
        Piece(text, bool(is_trained), row.notes.get(place, ""), place in borders)
        for place, (text, is_trained) in enumerate(zip(token_texts(tokenizer, row.ids), row.is_trained, strict=True))
    ]


def runs(row: TokenRow, tokenizer: Tokenizer) -> Iterator[Run]:
    """Yield the runs of a row in order; a document begins a run of its own."""
    has_answer = ANSWER in row.notes.values()
    is_labeled = row.labels is not None or (bool(row.notes) and not has_answer)
    trained: Kind = "answer" if has_answer else "trained"
    current: list[Piece] = []
    for piece in pieces(row, tokenizer):
        changes = bool(current) and piece.is_trained != current[-1].is_trained and not is_labeled
        if current and (changes or piece.begins_document):
            yield _run(current, is_labeled, trained)
            current = []
        current.append(piece)
    if current:
        yield _run(current, is_labeled, trained)


def _run(found: list[Piece], is_labeled: bool, trained: Kind) -> Run:
    kind: Kind = trained if found[-1].is_trained else "context"
    return Run("text" if is_labeled else kind, tuple(found), found[0].begins_document)
