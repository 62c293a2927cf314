"""Generated answers with their sources and references, as Markdown for loggers and as text for the terminal."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import lightning.pytorch as L

from gpt_lightning.printable import printable
from gpt_lightning.tasks.answer_data import AnsweredExample
from gpt_lightning.tasks.error_examples import shorten
from gpt_lightning.training.logger_media import show_text, wrap_lines
from gpt_lightning.training.run_history import keep_text

_MAX_CHARACTERS: Final = 300
"""Maximum length of a text in the terminal. The middle of a longer text is left out."""


def show_answers(trainer: L.Trainer, examples: Sequence[AnsweredExample]) -> None:
    """Log each example as a text next to the samples. The tags are always the same. Call this only on rank zero."""
    for number, example in enumerate(examples):
        parts = (f"**{label}**\n\n{wrap_lines(text)}" for label, text in _labeled_texts(example))
        text = "\n\n".join(parts)
        show_text(trainer, f"sample/answer_{number}", text)
        keep_text(trainer, f"sample/answer_{number}", text)


def print_answers(examples: Iterable[AnsweredExample]) -> None:
    """Print examples."""
    for example in examples:
        print()
        for label, text in _labeled_texts(example):
            print(printable(f"{label}: {' '.join(shorten(text, _MAX_CHARACTERS).split())}"))


def _labeled_texts(example: AnsweredExample) -> Iterator[tuple[str, str]]:
    yield "source", example.source
    for reference in example.references:
        yield "reference", reference
    yield "answer" if example.is_complete else "answer, cut at its maximum length", example.answer
