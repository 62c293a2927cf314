"""Columns that hold the texts, labels, words, tags and questions of a file, recognized by name and by content."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gpt_lightning.data.sources.formats import Row
from gpt_lightning.data.sources.row_formats import join_names
from gpt_lightning.errors import InputError

KNOWN_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "text": (
        *("text", "sentence", "review", "content", "body", "comment", "message", "tweet", "utterance", "query"),
        *("document", "description", "title", "question", "input"),
    ),
    "label": (
        *("label", "labels", "class", "category", "sentiment", "intent", "topic", "target", "polarity", "emotion"),
        *("rating", "stars", "score", "y"),
    ),
    "tokens": ("tokens", "words"),
    "tags": ("tags", "ner_tags", "labels", "slots", "bio"),
    "spans": ("spans", "entities"),
    "question": ("question", "query"),
    "context": ("context", "passage", "paragraph", "document"),
    "answers": ("answers", "answer"),
    "messages": ("messages",),
    "source": ("source", "en", "document", "article"),
    "target": ("target", "summary", "summaries", "translation"),
}
"""Role of a column -> names that it usually has, the likeliest first."""

PAIRS: Final = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
)
"""Usual names of two columns with a pair of texts."""

_EXAMINED: Final = 1000
_MOST_LABELS: Final = 0.5
"""Distinct labels per row: a column with more is not one of labels."""


class Columns:
    """Columns of a file, and what the user says about them.

    Args:
        rows: the rows of the file.
        flags: role -> name of the column that the user gives.

    Raises:
        InputError: a column that the user names is missing.
    """

    def __init__(self, rows: Sequence[Row], flags: Mapping[str, str]) -> None:
        self.rows = rows
        self.flags = flags
        self.names = list(dict.fromkeys(name for row in rows[:_EXAMINED] for name in row.fields))
        for role, name in flags.items():
            if name not in self.names:
                raise InputError(
                    f"--{role}_column={name}: the file has no column of this name. The columns are {self.listing}"
                )

    @property
    def listing(self) -> str:
        """The names of all columns, for messages."""
        return join_names(self.names) or "none"

    def find(self, role: str) -> str | None:
        """Return the column with a role: the one that the user names, or the first with a usual name."""
        if role in self.flags:
            return self.flags[role]
        by_name = {name.lower(): name for name in reversed(self.names)}
        return next((by_name[name] for name in KNOWN_NAMES[role] if name in by_name), None)

    def require(self, *roles: str) -> list[str]:
        """Return the columns with some roles.

        Raises:
            InputError: one is not recognized.
        """
        found = {role: self.find(role) for role in roles}
        if missing := [role for role in roles if found[role] is None]:
            raise self.unrecognized_error(*missing)
        return [str(name) for name in found.values()]

    def unrecognized_error(self, *roles: str) -> InputError:
        """Return the error that says how to name columns that were not recognized."""
        flags = " and ".join(f"--{role}_column NAME" for role in roles)
        columns, verb = ("column", "holds") if len(roles) == 1 else ("columns", "hold")
        return InputError(
            f"{self.rows[0].where}: cannot tell which {columns} {verb} the {' and the '.join(roles)}. "
            f"The columns are {self.listing}. Name the {columns} with {flags}"
        )

    def text_and_label(self) -> tuple[str, str]:
        """Return the columns of texts and labels, by name or else by content.

        Raises:
            InputError: they are not recognized, or the first line of the file is no header.
        """
        text, label = self.find("text"), self.find("label")
        if label is None or label == text:
            few = [name for name in self.names if name != text and self._has_few_values(name)]
            label = few[0] if len(few) == 1 else None
        if text is None:
            prose = [name for name in self.names if name != label and self._is_prose(name)]
            text = prose[0] if len(prose) == 1 else None
        missing = [role for role, name in (("text", text), ("label", label)) if name is None]
        if text is None or label is None:
            raise self.unrecognized_error(*missing)
        if "label" not in self.flags and label in {str(value) for value in self.values(label)}:
            raise InputError(
                f"{self.rows[0].where}: the column {label!r} also holds the value {label!r}, so the first line seems "
                "to be a row. Add a header line with the names of the columns, such as text;label"
            )
        return text, label

    def pair(self) -> list[str] | None:
        """Return two columns with a pair of texts by their usual names; None without them, or if the user names one."""
        by_name = {name.lower(): name for name in reversed(self.names)}
        found = next((pair for pair in PAIRS if set(pair) <= by_name.keys()), None)
        return None if found is None or "text" in self.flags else [by_name[name] for name in found]

    def values(self, name: str) -> list[Any]:
        """Return the values of a column in the rows that are examined."""
        return [row.fields[name] for row in self.rows[:_EXAMINED] if row.fields.get(name) is not None]

    def _has_few_values(self, name: str) -> bool:
        values = self.values(name)
        if not all(isinstance(value, str | int) for value in values):
            return False
        return 1 < len(set(values)) <= max(2, _MOST_LABELS * len(values)) and not self._is_prose(name)

    def _is_prose(self, name: str) -> bool:
        """Return whether a column holds texts of two words or more on average."""
        values = self.values(name)
        texts = [value for value in values if isinstance(value, str)]
        return bool(texts) and len(texts) == len(values) and sum(text.count(" ") for text in texts) >= len(texts)
