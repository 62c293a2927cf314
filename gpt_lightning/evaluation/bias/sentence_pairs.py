"""Pairs of a more and a less stereotypical sentence, as in CrowS-Pairs (Nangia et al. 2020, arXiv:2010.00133)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.row_formats import join_names, short_repr
from gpt_lightning.data.sources.source import read_rows, row_id
from gpt_lightning.errors import InputError

_DIRECTION: Final = ("direction", "stereo_antistereo")
"""Names of the column in the versions of CrowS-Pairs."""


@dataclass(frozen=True)
class SentencePair:
    """Two sentences that differ in the group that they are about.

    Attributes:
        id: id of the row, or its number.
        more: the more stereotypical sentence.
        less: the less stereotypical sentence.
        bias_type: kind of bias, such as ``gender``; empty if the row has none.
        direction: ``stereo`` if ``more`` is about the disadvantaged group, ``antistereo`` if ``less`` is; may be empty.
    """

    id: str
    more: str
    less: str
    bias_type: str
    direction: str


def read_pairs(source: str) -> list[SentencePair]:
    """Read the sentence pairs of a file or of a hub dataset.

    Args:
        source: a file or ``hub:OWNER/NAME``, with the columns ``sent_more`` and ``sent_less``. The columns
            ``bias_type``, ``direction`` (or ``stereo_antistereo``) and ``id`` are optional.

    Raises:
        InputError: the source cannot be read, or a row is invalid.
    """
    return list(_pairs(read_rows(source, split="test", key="--pairs")))


def _pairs(rows: Iterable[Row]) -> Iterator[SentencePair]:
    for number, row in enumerate(rows):
        more, less = _sentence(row, "sent_more"), _sentence(row, "sent_less")
        direction = next((name for name in _DIRECTION if row.fields.get(name) is not None), _DIRECTION[0])
        name = row_id(row, "id", number)
        yield SentencePair(name, more, less, _optional_text(row, "bias_type"), _optional_text(row, direction))


def _sentence(row: Row, column: str) -> str:
    """Return a sentence of a row.

    Raises:
        InputError: it is missing, not a string, or empty.
    """
    if column not in row.fields:
        raise InputError(
            f"{row.where}: there is no column {column!r}; the columns are {join_names(row.fields) or 'none'}. Give "
            "--pairs with the columns sent_more and sent_less"
        )
    text = row.fields[column]
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{row.where}: column {column!r} is {short_repr(text)}, not a sentence. Fix this row")
    return text


def _optional_text(row: Row, column: str) -> str:
    """Return the text of an optional column; empty if it is missing.

    Raises:
        InputError: it is not a string.
    """
    value = row.fields.get(column)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{row.where}: column {column!r} is {short_repr(value)}, not a string. Fix or remove this row")
    return value or ""
