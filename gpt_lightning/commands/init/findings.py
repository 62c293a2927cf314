"""Facts about a labeled data file that determine the configuration written for it."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from gpt_lightning.commands.init.choice import Choice
from gpt_lightning.data.base import DataModule
from gpt_lightning.data.labeled import Example, Labeled, RepeatedIdError, with_unique_ids
from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.errors import InputError
from gpt_lightning.tasks import Task

_SHOWN_LABELS: Final = 8

E = TypeVar("E", bound=Example)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Facts about a file of labeled rows.

    Attributes:
        task: the task to train.
        module: the data module that reads the rows.
        arguments: arguments of the data module that differ from its defaults, such as columns.
        model: arguments of the task that differ from its defaults.
        texts: the text of each valid row. Rows with the same text are held out together.
        num_labels: number of labels to tell apart.
        extra_tokens: number of tokens that the model reads besides the text, such as those of a question.
        summary: sentences about rows and labels.
        monitor: the metric that chooses the best checkpoint.
        mode: ``max`` if a higher value is better, else ``min``.
        attention: attention of a backbone that is trained from scratch.
        min_block_size: length of the shortest block that always works, in tokens.
    """

    task: type[Task]
    module: type[DataModule]
    arguments: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    texts: Sequence[str]
    num_labels: int = 2
    extra_tokens: int = 1
    summary: str
    monitor: Any
    mode: str = "max"
    attention: str = "bidirectional"
    min_block_size: int = 32


def parse(make: Callable[..., Labeled[E]], rows: Sequence[Row]) -> tuple[list[E], dict[str, Choice]]:
    """Return the valid examples among some rows, and the arguments of the data module that the others call for.

    Args:
        make: constructor of the data module, with its columns; it takes ``id_column``.
        rows: the rows.

    Raises:
        InputError: no row is valid.
    """
    examples, errors = _read(make(), rows)
    arguments: dict[str, Choice] = {}
    if any(isinstance(error, RepeatedIdError) for error in errors):
        renumbered, others = _read(make(id_column=""), rows)
        if len(others) < len(errors):
            examples, errors = renumbered, others
            arguments["id_column"] = Choice("", "the ids in the file are not unique, so rows are numbered")
    if not examples:
        raise errors[0]
    if errors:
        why = f"{len(errors):,} of {len(errors) + len(examples):,} rows are invalid, the first is {errors[0]}"
        arguments["on_bad_row"] = Choice("skip", why)
    return examples, arguments


def _read(module: Labeled[E], rows: Sequence[Row]) -> tuple[list[E], list[InputError]]:
    """Return the valid examples and the errors of the other rows."""
    examples: list[E] = []
    errors: list[InputError] = []
    for example in with_unique_ids(module.parse_rows(iter(rows), "train", has_labels=True)):
        if isinstance(example, InputError):
            errors.append(example)
        else:
            examples.append(example)
    return examples, errors


def lengths(texts: Sequence[str], name: str = "Texts") -> str:
    """Return a sentence about the lengths of texts, in words and characters; ``name`` is what they are."""
    words, characters = ([measure(text) for text in texts] for measure in (lambda text: len(text.split()), len))
    median_words = count(statistics.median_low(words), "word")
    median_characters = count(statistics.median_low(characters), "character")
    return (
        f"{name} have a median of {median_words} ({median_characters}), the longest has {max(words):,} "
        f"({max(characters):,})."
    )


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number and its noun, in the plural unless it is 1."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def counts(labels: Counter[str], noun: str) -> str:
    """Return the number of labels and how often each occurs, the most frequent first."""
    shown = ", ".join(f"{short_repr(name)} {number:,}" for name, number in labels.most_common(_SHOWN_LABELS))
    return f"{count(len(labels), noun)}: {shown}{', …' * (len(labels) > _SHOWN_LABELS)}."
