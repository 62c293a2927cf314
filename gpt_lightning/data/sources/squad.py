"""Parser of questions and answers, from flat rows and from SQuAD's nested JSON.

Answers and offsets are ranges [start, end) in characters of the context. N is the number of tokens of a context.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.row_formats import join_names, short_repr
from gpt_lightning.data.sources.source import filled_text
from gpt_lightning.data.sources.unicode_forms import FORMS, Form, find_normalized
from gpt_lightning.errors import InputError

_ANSWERS_SHAPE: Final = 'a list of {"text": ..., "answer_start": ...}'


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its context, answers and location."""

    id: str | None
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]
    """(text, start in ``context``) without surrounding whitespace; empty if the context has no answer."""
    where: str


class _Columns(NamedTuple):
    id: str
    question: str
    context: str
    answers: str


_SQUAD_COLUMNS: Final = _Columns("id", "question", "context", "answers")


def parse_questions(
    rows: Iterable[Row],
    *,
    has_labels: bool,
    id_column: str = "id",
    question_column: str = "question",
    context_column: str = "context",
    answers_column: str = "answers",
    form: Form | None = None,
) -> Iterator[Question | InputError]:
    """Yield the questions of ``rows`` in order, with an InputError in place of each invalid one.

    A row is a question, or an article of SQuAD's JSON: ``{"paragraphs": [{"context", "qas": [...]}]}``. The column
    arguments do not apply to articles. Answers are a list of ``{"text", "answer_start"}`` or an object with two lists
    under these names. If the context has no answer, they are null or empty, and "is_impossible" may be true. Whitespace
    around answers is stripped.

    Args:
        rows: rows of flat or nested files.
        has_labels: False to ignore the answers, which may be missing.
        id_column: column with the id.
        question_column: column with the question.
        context_column: column with the context.
        answers_column: column with the answers.
        form: Unicode form in which answers that differ from their context are compared with it, or None. An answer that
            is equal becomes the text of the context.

    Raises:
        InputError: ``rows`` cannot be read.
    """
    columns = _Columns(id_column, question_column, context_column, answers_column)
    for row in rows:
        try:
            is_article = "paragraphs" in row.fields and question_column not in row.fields
        except InputError as error:  # the row cannot be read
            yield error
            continue
        for item in _article_rows(row) if is_article else [row]:
            if isinstance(item, InputError):
                yield item
                continue
            try:
                yield _question(item, _SQUAD_COLUMNS if is_article else columns, has_labels, form)
            except InputError as error:
                yield error


def answer_tokens(start: int, end: int, offsets: NDArray[np.integer[Any]]) -> tuple[int, int] | None:
    """Return the first and the last token that overlap the characters [start, end), or None if no token does.

    Args:
        start: first character of the answer.
        end: character after the answer.
        offsets: (N, 2) character ranges of the tokens; empty ranges overlap nothing.
    """
    inside = np.flatnonzero(np.minimum(offsets[:, 1], end) > np.maximum(offsets[:, 0], start))
    return (int(inside[0]), int(inside[-1])) if len(inside) else None


def _article_rows(row: Row) -> Iterator[Row | InputError]:
    """Yield a row for each question of an article."""
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
            yield InputError(f'{where}: not an object with a "context" and a list "qas"; fix or remove it')
            continue
        for index, entry in enumerate(paragraph["qas"], start=1):
            if not isinstance(entry, Mapping) or "question" not in entry:
                yield InputError(
                    f'{where}: entry {index} of "qas" is not an object with a "question"; fix or remove it'
                )
                continue
            name = entry.get("id")
            location = f"{where}, question {index}" if name is None else f"{row.where}, question {name}"
            yield Row({**entry, "context": paragraph["context"]}, location)


def _question(row: Row, columns: _Columns, has_labels: bool, form: Form | None) -> Question:
    name = row.fields.get(columns.id)
    question = filled_text(row, columns.question, key="--data.question_column")
    context = filled_text(row, columns.context, key="--data.context_column")
    answers = _answers(row, columns, context, form) if has_labels else ()
    return Question(None if name is None else str(name), question, context, answers, row.where)


def _answers(row: Row, columns: _Columns, context: str, form: Form | None) -> tuple[tuple[str, int], ...]:
    """Return the answers of a row, checked against its context."""
    is_impossible = row.fields.get("is_impossible")
    if is_impossible not in (None, True, False):
        raise InputError(f'{row.where}: "is_impossible" is {short_repr(is_impossible)}, not true or false; fix it')
    if columns.answers not in row.fields and not is_impossible:
        raise InputError(
            f"{row.where}: there is no column {columns.answers!r} with answers; the columns are "
            f"{join_names(row.fields)}; choose one with --data.answers_column=COLUMN, and leave it empty or null if "
            "the context has no answer"
        )
    pairs = _answer_pairs(row, columns.answers)
    answers = tuple(_answer(row.where, text, start, context, form) for text, start in pairs)
    if answers and is_impossible:
        raise InputError(
            f'{row.where}: "is_impossible" is true, but the row has the answer {short_repr(answers[0][0])}; '
            "remove the answer, or set it to false"
        )
    if not answers and is_impossible is not None and not is_impossible:
        raise InputError(
            f'{row.where}: "is_impossible" is false, but {columns.answers!r} is empty; add an answer, or set it to true'
        )
    return answers


def _answer_pairs(row: Row, column: str) -> list[tuple[Any, Any]]:
    """Return the unchecked (text, start) of each answer, from either shape."""
    value = row.fields.get(column)
    if value is None:
        return []
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start")
        if isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts):
            return list(zip(texts, starts, strict=True))
        raise InputError(
            f'{row.where}: column {column!r} is an object, but "text" and "answer_start" are not lists of the same '
            "length; fix it"
        )
    if not isinstance(value, list):
        remedy = (
            "write answers as .jsonl, because CSV and TSV have only strings" if isinstance(value, str) else "fix it"
        )
        raise InputError(
            f"{row.where}: column {column!r} is of type {type(value).__name__}, not {_ANSWERS_SHAPE}; {remedy}"
        )
    for answer in value:
        if not isinstance(answer, Mapping) or not {"text", "answer_start"} <= answer.keys():
            raise InputError(
                f"{row.where}: column {column!r} contains {short_repr(answer)}, but must be {_ANSWERS_SHAPE}; fix it"
            )
    return [(answer["text"], answer["answer_start"]) for answer in value]


def _answer(where: str, text: Any, start: Any, context: str, form: Form | None) -> tuple[str, int]:
    """Return an answer without the whitespace around it, and its start, after checking both."""
    if not isinstance(text, str):
        raise InputError(f"{where}: the answer {short_repr(text)} is not a string; fix or remove it")
    if not text.strip():
        raise InputError(f"{where}: the text of an answer is empty; fix it, or remove it if there is no answer")
    if not isinstance(start, int) or isinstance(start, bool):
        raise InputError(
            f"{where}: the start of the answer {short_repr(text)} is {short_repr(start)}, not a whole number; fix it"
        )
    if form is not None and start >= 0 and context[start : start + len(text)] != text:
        place = find_normalized(text, start, context, form)
        if place is not None:
            start, text = place[0], context[slice(*place)]
    if not 0 <= start < len(context):
        raise InputError(
            f"{where}: the answer {short_repr(text)} starts at character {start}, outside its context of "
            f"{len(context)} characters; {_remedy(text, start, context)}"
        )
    actual = context[start : start + len(text)]
    if actual != text:
        equal_in = next((form for form in FORMS if find_normalized(text, start, context, form)), None)
        if equal_in is not None:
            raise InputError(
                f"{where}: the answer {short_repr(text)} looks like the context at character {start}, but they differ "
                f"in Unicode normalization; add --data.normalize={equal_in}, or convert both to the same form"
            )
        raise InputError(
            f"{where}: the answer is {short_repr(text)}, but at character {start} the context has "
            f"{short_repr(actual)}; {_remedy(text, start, context)}"
        )
    return text.strip(), start + len(text) - len(text.lstrip())


def _remedy(text: str, start: int, context: str) -> str:
    """Return a hint with the occurrence of an answer nearest to ``start``, if there is one."""
    start = min(max(start, 0), len(context))
    occurrences = [context.rfind(text, 0, start + len(text)), context.find(text, start)]
    nearest = min((place for place in occurrences if place >= 0), key=lambda place: abs(place - start), default=None)
    if nearest is None:
        return "the context does not contain it: fix the answer or remove the row"
    return f"it occurs at {nearest}: fix its start (in characters, not bytes)"
