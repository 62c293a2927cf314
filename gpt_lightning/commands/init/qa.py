"""Questions about contexts: findings for extractive question answering."""

import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from gpt_lightning.commands.init.columns import Columns
from gpt_lightning.commands.init.findings import Findings, count, lengths, parse
from gpt_lightning.data import ReadingComprehension
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.errors import InputError
from gpt_lightning.tasks import QuestionAnswering

ROLES: Final = ("question", "context", "answers")
_QUESTION_TOKENS: Final = 24
"""Room for an ordinary question."""


def find(rows: Sequence[Row], columns: Columns) -> Findings:
    """Return the findings for SQuAD's nested articles, or rows of a question, a context and its answers.

    Raises:
        InputError: the columns are not recognized, no row is valid, or no question has an answer.
    """
    named: dict[str, Any] = {}
    if "paragraphs" not in columns.names:
        named = {f"{role}_column": name for role, name in zip(ROLES, columns.require(*ROLES), strict=True)}
    examples, arguments = parse(partial(ReadingComprehension, **named), rows)
    answers = [example.answers[0][0] for example in examples if example.answers]
    if not answers:
        raise InputError(
            f"{rows[0].where}: none of the {len(examples):,} questions has an answer, so there is nothing to learn. "
            "Add questions with answers"
        )
    without = len(examples) - len(answers)
    contexts = [example.context for example in examples]
    words = statistics.median_low([len(answer.split()) for answer in answers])
    return Findings(
        task=QuestionAnswering,
        module=ReadingComprehension,
        arguments={**named, **arguments},
        texts=contexts,
        extra_tokens=_QUESTION_TOKENS,
        summary=f"{count(len(examples), 'question')} about {count(len(set(contexts)), 'context')}, {without:,} of them "
        f"without an answer. Answers have a median of {count(words, 'word')}. {lengths(contexts, 'Contexts')}",
        monitor="val/answer_f1",
        attention="causal",
        min_block_size=192,
    )
