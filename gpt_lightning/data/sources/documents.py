"""Division of text into documents and pieces."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.errors import InputError

PIECE_CHARACTERS: Final = 64 * 1024
"""Maximum length of a piece. Pieces give the tokenizer work for every core and bound its memory."""

SEPARATORS: Final = (
    *("<|endoftext|>", "<|end_of_text|>", "<|endofdoc|>", "<|eos|>", "<|startoftext|>", "<|eot_id|>", "<|im_end|>"),
    *("</s>", "<eos>", "[EOS]", "<eot>"),
)
"""Strings that files often use to separate documents."""

_SAMPLE_CHARACTERS: Final = 1 << 20
_LEAST_SEPARATORS: Final = 3
_CHARACTERS_PER_SEPARATOR: Final = 1 << 16


class Piece(NamedTuple):
    """Consecutive part of a document, at most ``PIECE_CHARACTERS`` long."""

    text: str
    starts_document: bool
    where: str = ""
    """Location of the row, or path of the text file."""


def check_separator(separator: str) -> str:
    r"""Return the document separator that a user gives, with line ends in place of ``\n`` and ``\r``.

    Raises:
        InputError: it is empty or too long.
    """
    found = separator.replace("\\n", "\n").replace("\\r", "\r")
    if not 0 < len(found) <= 1000:
        raise InputError(
            f"--data.document_separator={short_repr(separator)} must have 1 to 1,000 characters, such as <|endoftext|>"
        )
    return found


def split_documents(blocks: Iterable[str], separator: str | None = None) -> Iterator[Piece]:
    """Split text, given in blocks, into pieces that do not depend on the size of the blocks.

    Args:
        blocks: the text.
        separator: string between documents; None if the text is one document. It is removed, and so is the line end
            after it.
    """
    rest, starts, follows = "", True, False
    # A document may end in the last characters of a block, which may begin a separator.
    margin = 0 if separator is None else len(separator) - 1
    for block in blocks:
        *ended, rest = (rest + block).split(separator) if separator else [rest + block]
        for text in ended:
            yield from _pieces(_without_line_end(text) if follows and starts else text, starts)
            starts = follows = True
        if len(rest) - margin > PIECE_CHARACTERS + 2:  # at least one piece, also without a line end
            text = _without_line_end(rest) if follows and starts else rest
            *pieces, last = _pieces(text, starts, margin)
            yield from pieces
            starts, rest = False, last.text
    yield from _pieces(_without_line_end(rest) if follows and starts else rest, starts)


def frequent_separator(pieces: Iterable[Piece]) -> tuple[str, int] | None:
    """Return a string that seems to separate documents in the beginning of a text, and how often it occurs there."""
    text = "\n".join(_beginning(pieces))
    count, separator = max((text.count(each), each) for each in SEPARATORS)
    return (separator, count) if count >= max(_LEAST_SEPARATORS, len(text) // _CHARACTERS_PER_SEPARATOR) else None


def missing_separator(pieces: Iterable[Piece], separator: str) -> str | None:
    """Return what to print if the beginning of a text has no separator; None if it has one.

    Args:
        pieces: the text, which is not divided by the separator.
        separator: string between documents.
    """
    text, windows = "".join(_beginning(pieces)), separator.replace("\n", "\r\n")
    if separator in text:
        return None
    remedy = f"The lines end with \\r\\n: set it to {windows!r}" if windows in text else "Check its spelling"
    return f"data.document_separator={separator!r} does not occur in the beginning of the text. {remedy}"


def _beginning(pieces: Iterable[Piece]) -> list[str]:
    """Return the texts of the first pieces, with about ``_SAMPLE_CHARACTERS``."""
    sample, length = [], 0
    for piece in pieces:
        sample.append(piece.text)
        length += len(piece.text)
        if length >= _SAMPLE_CHARACTERS:
            break
    return sample


def _pieces(text: str, starts_document: bool, margin: int = 0) -> Iterator[Piece]:
    """Yield the pieces of a text; the last one is what is left, and empty only with a ``margin``.

    Args:
        text: the text.
        starts_document: whether a document starts with it.
        margin: number of characters at the end that may not belong to the document. Then more text follows.
    """
    start = 0
    while len(text) - margin - start > PIECE_CHARACTERS:
        end = _piece_end(text, start)
        yield Piece(text[start:end], starts_document)
        start, starts_document = end, False
    if start < len(text) or margin:
        yield Piece(text[start:], starts_document)


def _without_line_end(text: str) -> str:
    return text[2:] if text.startswith("\r\n") else text.removeprefix("\n")


def _piece_end(text: str, start: int) -> int:
    """Return the end of the piece that starts at ``start``."""
    middle, end = start + PIECE_CHARACTERS // 2, start + PIECE_CHARACTERS
    newline = text.rfind("\n", middle, end)
    if newline >= 0:
        return newline + 1
    space = text.rfind(" ", middle, end)
    return space if space >= 0 else end
