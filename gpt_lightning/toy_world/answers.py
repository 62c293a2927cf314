"""Questions about passages that are answered in words, and requests for a summary."""

from typing import Any, Final

from gpt_lightning.toy_world.story import Passage

_SUMMARIZE: Final = "Summarize the passage in one sentence."


def answer_row(number: int, passage: Passage) -> dict[str, Any]:
    """Return a passage with a question and its answer. Every third passage has a request and a summary instead."""
    if number % 3 == 2:
        question, answer = _SUMMARIZE, passage.summary
    else:
        answered = [(each.question, each.answer) for each in passage.questions if each.answer is not None]
        question, answer = answered[number // 3 % len(answered)]
    return {"passage": passage.text, "question": question, "answer": answer}
