"""Questions about a context, from flat rows and from SQuAD's nested JSON, and their answers as tokens.

N tokens of a context. Answers and offsets are in characters of the context, [start, end).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.row_formats import join_names, short_repr
from gpt_lightning.data.sources.source import filled_text
from gpt_lightning.errors import InputError

_ANSWERS_SHAPE: Final = 'a list of {"text": ..., "answer_start": ...}'


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its context and place."""

    id: str | None
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]
    """(text, start in ``context``), without whitespace around it; none where the context has no answer."""
    where: str


class _Columns(NamedTuple):
    id: str
    question: str
    context: str
    answers: str


_NESTED: Final = _Columns("id", "question", "context", "answers")


def questions(
    rows: Iterable[Row],
    *,
    labeled: bool,
    id_column: str = "id",
    question_column: str = "question",
    context_column: str = "context",
    answers_column: str = "answers",
) -> Iterator[Question | InputError]:
    """Yield the questions of ``rows`` in order, and for each that is malformed the InputError that says how.

    A row is one question, or one article of SQuAD's JSON ({"paragraphs": [{"context", "qas": [...]}]}; its names are
    fixed). Answers are a list of {"text", "answer_start"}, a dict of two lists under these names, or null or empty
    where the context holds no answer, which "is_impossible" may say too. With ``labeled`` false the answers may be
    missing. Whitespace around answers is cut off.

    Raises:
        InputError: what reading ``rows`` raises.
    """
    columns = _Columns(id_column, question_column, context_column, answers_column)
    for row in rows:
        nested = "paragraphs" in row.fields and question_column not in row.fields
        for item in _article(row) if nested else [row]:
            if isinstance(item, InputError):
                yield item
                continue
            try:
                yield _question(item, _NESTED if nested else columns, labeled)
            except InputError as error:
                yield error


def answer_tokens(start: int, end: int, offsets: NDArray[np.integer[Any]]) -> tuple[int, int] | None:
    """Return the first and last token that hold a character of [start, end), or None where none does.

    ``offsets`` are (N, 2). A token of no characters holds none.
    """
    inside = np.flatnonzero(np.minimum(offsets[:, 1], end) > np.maximum(offsets[:, 0], start))
    return (int(inside[0]), int(inside[-1])) if len(inside) else None


def _article(row: Row) -> Iterator[Row | InputError]:
    """Yield one row for each question of an article."""
    paragraphs = row.fields["paragraphs"]
    if not isinstance(paragraphs, list):
        yield InputError(f'{row.where}: "paragraphs" is not a list; fix or remove this row')
        return
    for number, paragraph in enumerate(paragraphs, start=1):
        where = f"{row.where}, paragraph {number}"
        if (
            not isinstance(paragraph, Mapping)
            or "context" not in paragraph
            or not isinstance(paragraph.get("qas"), list)
        ):
            yield InputError(f'{where}: not an object with a "context" and a list under "qas"; fix or remove it')
            continue
        for index, entry in enumerate(paragraph["qas"], start=1):
            if not isinstance(entry, Mapping) or "question" not in entry:
                yield InputError(
                    f'{where}: entry {index} of "qas" is not an object with a "question"; fix or remove it'
                )
                continue
            name = entry.get("id")
            place = f"{where}, question {index}" if name is None else f"{row.where}, question {name}"
            yield Row({**entry, "context": paragraph["context"]}, place)


def _question(row: Row, columns: _Columns, labeled: bool) -> Question:
    name = row.fields.get(columns.id)
    question = filled_text(row, columns.question, key="--data.question_column")
    context = filled_text(row, columns.context, key="--data.context_column")
    answers = _answers(row, columns, context) if labeled else ()
    return Question(None if name is None else str(name), question, context, answers, row.where)


def _answers(row: Row, columns: _Columns, context: str) -> tuple[tuple[str, int], ...]:
    """Return the answers of a row, checked against its context."""
    impossible = row.fields.get("is_impossible")
    if impossible not in (None, True, False):
        raise InputError(f'{row.where}: "is_impossible" is {short_repr(impossible)}, not true or false; fix it')
    if columns.answers not in row.fields and not impossible:
        raise InputError(
            f"{row.where}: there is no column {columns.answers!r} to learn from; the columns are "
            f"{join_names(row.fields)}; choose with --data.answers_column, and leave it "
            "empty or null where the context has no answer"
        )
    pairs = _pairs(row, columns.answers)
    answers = tuple(_answer(row.where, text, start, context) for text, start in pairs)
    if answers and impossible:
        raise InputError(
            f'{row.where}: "is_impossible" is true, yet the row has the answer {short_repr(answers[0][0])}; '
            "remove one of them"
        )
    if not answers and impossible is not None and not impossible:
        raise InputError(
            f'{row.where}: "is_impossible" is false, yet {columns.answers!r} is empty; give an answer, or mark it true'
        )
    return answers


def _pairs(row: Row, column: str) -> list[tuple[Any, Any]]:
    """Return (text, start), not yet checked, of answers in any of their shapes."""
    value = row.fields.get(column)
    if value is None:
        return []
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start")
        if isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts):
            return list(zip(texts, starts, strict=True))
        raise InputError(
            f'{row.where}: {column!r} is an object without lists of one length under "text" and "answer_start"; fix it'
        )
    if not isinstance(value, list):
        hint = "; a table of text cannot hold answers, use .jsonl" if isinstance(value, str) else ""
        raise InputError(f"{row.where}: {column!r} is of type {type(value).__name__}, not {_ANSWERS_SHAPE}{hint}")
    for answer in value:
        if not isinstance(answer, Mapping) or not {"text", "answer_start"} <= answer.keys():
            raise InputError(
                f"{row.where}: {column!r} holds {short_repr(answer)}, but must be {_ANSWERS_SHAPE}; fix it"
            )
    return [(answer["text"], answer["answer_start"]) for answer in value]


def _answer(where: str, text: Any, start: Any, context: str) -> tuple[str, int]:
    """Check one answer and cut off the whitespace around it."""
    if not isinstance(text, str):
        raise InputError(f"{where}: the answer {short_repr(text)} is not a string; fix or remove it")
    if not text.strip():
        raise InputError(f"{where}: an answer's text is empty; fix it, or remove it if there is no answer")
    if not isinstance(start, int) or isinstance(start, bool):
        raise InputError(
            f"{where}: the start of the answer {short_repr(text)} is {short_repr(start)}, not a whole number"
        )
    if not 0 <= start < len(context):
        raise InputError(
            f"{where}: the answer {short_repr(text)} starts at character {start}, outside its context of "
            f"{len(context)} characters; {_way_out(text, start, context)}"
        )
    there = context[start : start + len(text)]
    if there != text:
        raise InputError(
            f"{where}: the answer is {short_repr(text)}, but at character {start} the context has {short_repr(there)}; "
            f"{_way_out(text, start, context)}"
        )
    return text.strip(), start + len(text) - len(text.lstrip())


def _way_out(text: str, start: int, context: str) -> str:
    """Say where the answer nearest to ``start`` is, if anywhere."""
    start = min(max(start, 0), len(context))
    places = [context.rfind(text, 0, start + len(text)), context.find(text, start)]
    nearest = min((place for place in places if place >= 0), key=lambda place: abs(place - start), default=None)
    if nearest is None:
        return "the context does not hold it: fix the answer or remove the row"
    return f"it occurs at {nearest}: fix its start (in characters, not bytes)"
