"""Round trip of the answers to questions: from characters to tokens and back."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from gpt_lightning.evaluation.inspection.token_rows import ANSWER, TokenRow
from gpt_lightning.tokenizers.tokenizer import Tokenizer


class Answered(Protocol):
    """Question with the correct answers, of which the first one is trained."""

    @property
    def id(self) -> str | None:
        """Id of the question."""

    @property
    def answers(self) -> tuple[tuple[str, int], ...]:
        """(text, start) of each answer."""


class ChangedSpan(NamedTuple):
    """Answer that differs from the text of its tokens."""

    id: str
    given: str
    found: str


class SpanCheck:
    """Comparison of the answers of questions with the text of the tokens that are trained as answers.

    Args:
        questions: questions with their answers.
        tokenizer: the tokenizer.
    """

    def __init__(self, questions: Iterable[Answered], tokenizer: Tokenizer) -> None:
        self._answers = {str(each.id): each.answers[0][0] for each in questions if each.answers}
        self._tokenizer = tokenizer
        self._found: set[str] = set()
        self._changed: dict[str, ChangedSpan] = {}

    @property
    def num_answers(self) -> int:
        """Number of questions with an answer."""
        return len(self._answers)

    @property
    def lost(self) -> list[str]:
        """Ids of the questions whose answer is in no window, so that "no answer" is trained."""
        return [name for name in self._answers if name not in self._found]

    @property
    def changed(self) -> list[ChangedSpan]:
        """Answers whose tokens have another text, such as more characters."""
        return list(self._changed.values())

    def add(self, row: TokenRow) -> None:
        """Check the answer in a window."""
        if ANSWER not in row.notes.values() or row.id not in self._answers:
            return
        self._found.add(row.id)
        given, found = self._answers[row.id], self._tokenizer.decode(row.ids[row.is_trained])
        if _letters(found) == _letters(given):
            return
        # Some tokenizers change letters. The answer, encoded by itself, then changes in the same way.
        alone = self._tokenizer.decode(self._tokenizer.encode(given))
        if _letters(found) != _letters(alone):
            self._changed[row.id] = ChangedSpan(row.id, given, found.strip())


def _letters(text: str) -> str:
    """Return a text without whitespace, which some tokenizers drop."""
    return "".join(text.split())
