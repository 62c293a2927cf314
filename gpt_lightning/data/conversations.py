"""Conversations: parsing of rows with messages, instructions, or prompts and completions."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpt_lightning.data.column_template import ColumnTemplate
from gpt_lightning.data.sources.row_formats import Row, join_names, short_repr
from gpt_lightning.data.sources.source import filled_text, row_id, row_text, row_value
from gpt_lightning.errors import InputError

ROLES: Final = ("system", "user", "assistant", "tool")
_UNSUPPORTED: Final = ("tool_calls", "function_call")
_PAIRS: Final = "'instruction' and 'output', or 'prompt' and 'completion'"
_REMEDY: Final = "fix or remove this row"


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages, the last of which is an answer of the assistant.

    Attributes:
        id: id of the row.
        messages: messages with ``role``, ``content`` and other strings for the chat template.
        is_trained: for each message, False if the row excludes it from the loss.
        references: correct texts of the last answer; the first one is its content. Empty if the answer is unknown.
        where: location of the row for messages, such as ``path:line``.
    """

    id: str
    messages: tuple[Mapping[str, str], ...]
    is_trained: tuple[bool, ...]
    references: tuple[str, ...]
    where: str

    @property
    def prompt(self) -> str:
        """The text before the last answer, for held-out validation."""
        return "\n".join(message["content"] for message in self.messages[:-1])

    def without_first_turn(self) -> "Conversation | None":
        """Return the system prompt and all messages from the user's second one on; None if there is no second one."""
        users = [index for index, message in enumerate(self.messages) if message["role"] == "user"]
        if len(users) < 2:
            return None
        kept = [index for index, message in enumerate(self.messages[:1]) if message["role"] == "system"]
        kept += range(users[1], len(self.messages))
        return Conversation(
            self.id,
            tuple(self.messages[index] for index in kept),
            tuple(self.is_trained[index] for index in kept),
            self.references,
            self.where,
        )


class RowReader:
    """Reader of conversations from the columns of rows.

    Args:
        id_column: column with the id of each row.
        messages_column: column with a list of messages; None if rows are pairs of texts.
        template: template of the user's message, filled from the columns of a row.
        target: column with the answer to it.
        has_answers: False if answers may be missing, as in prediction.

    Raises:
        InputError: only one of template and target is given, or the template contains the target.
    """

    def __init__(
        self,
        id_column: str,
        messages_column: str | None,
        template: str | None,
        target: str | None,
        *,
        has_answers: bool,
    ) -> None:
        if (template is None) != (target is None):
            raise InputError(
                f"--data.template={template} and --data.target={target} belong together: the prompt, such as "
                "'Translate to French: {en}', and the column of the answer, such as fr. Set both"
            )
        self.template = None if template is None else ColumnTemplate(template)
        self.target = target
        if self.template is not None and target in self.template.columns:
            raise InputError(
                f"--data.target={target} is also a column of --data.template, so the prompt would contain the answer. "
                "Choose another column"
            )
        self.id_column, self.messages_column, self.has_answers = id_column, messages_column, has_answers

    def read(self, rows: Iterable[Row]) -> Iterator[Conversation | InputError]:
        """Yield the conversation of each row, or an error if the row is invalid."""
        for number, row in enumerate(rows):
            try:
                yield self._conversation(row, row_id(row, self.id_column, number))
            except InputError as error:
                yield error

    def _conversation(self, row: Row, name: str) -> Conversation:
        column = self.messages_column
        if column is not None and self.template is None and row.fields.get(column) is not None:
            return self._from_messages(_list(row, column), name, row.where)
        prompt, column = self._prompt(row)
        references = self._references(row, column)
        user = {"role": "user", "content": prompt}
        answers = [{"role": "assistant", "content": text} for text in references[:1]]
        return Conversation(name, (user, *answers), (True,) * (1 + len(answers)), references, row.where)

    def _prompt(self, row: Row) -> tuple[str, str]:
        """Return the text of the user, and the name of the column with the answer."""
        if self.template is not None and self.target is not None:
            return self.template.fill(row), self.target
        if "prompt" in row.fields:
            return filled_text(row, "prompt", "--data.template"), "completion"
        if "instruction" in row.fields:
            instruction = filled_text(row, "instruction", "--data.template")
            context = row_text(row, "input") if row.fields.get("input") is not None else ""
            return f"{instruction}\n\n{context}" if context.strip() else instruction, "output"
        shapes = _PAIRS if self.messages_column is None else f"{self.messages_column!r}, {_PAIRS}"
        raise InputError(
            f"{row.where}: no column {shapes}; the columns are {join_names(row.fields) or 'none'}; set "
            "--data.template (such as 'Translate to French: {en}') and --data.target (such as fr)"
            f"{'' if self.messages_column is None else ', or --data.messages_column'}"
        )

    def _references(self, row: Row, column: str) -> tuple[str, ...]:
        """Return the correct answers: one text, or a list of texts."""
        value = _optional_value(row, column) if not self.has_answers else row_value(row, column, "--data.target")
        texts = value if isinstance(value, list) else [value]
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            if not self.has_answers:
                return ()
            raise InputError(
                f"{row.where}: column {column!r} is {short_repr(value)}, not a text or a list of texts that are not "
                "empty; fix or remove this row"
            )
        return tuple(texts)

    def _from_messages(self, values: list[Any], name: str, where: str) -> Conversation:
        if not self.has_answers and len(values) > 1 and _is_empty_answer(values[-1]):
            values = values[:-1]
        found = [_message(value, index, where) for index, value in enumerate(values)]
        roles = [message["role"] for message, _ in found]
        if "system" in roles[1:]:
            problem = "two system messages" if roles.count("system") > 1 else "a system message that is not the first"
            raise InputError(f"{where}: the conversation has {problem}; join them in front, or remove this row")
        answers = [index for index, role in enumerate(roles) if role == "assistant"]
        if not self.has_answers and roles[-1] != "assistant":
            messages = tuple(message for message, _ in found)
            return Conversation(name, messages, tuple(flag for _, flag in found), (), where)
        if not [index for index in answers if index > 0]:
            raise InputError(
                f"{where}: the conversation has no answer of the assistant to a message; add one, or remove this row"
            )
        found = found[: answers[-1] + 1]  # messages after the last answer are ignored
        messages = tuple(message for message, _ in found)
        return Conversation(name, messages, tuple(flag for _, flag in found), (messages[-1]["content"],), where)


def _optional_value(row: Row, column: str) -> Any:
    """Return the value of a column; None if it is missing."""
    try:
        return row_value(row, column, "--data.target")
    except InputError:
        return None


def _is_empty_answer(value: Any) -> bool:
    """Return whether a message is a place for an answer, as in rows to predict."""
    is_answer = isinstance(value, dict) and value.get("role") == "assistant"
    return is_answer and not str(value.get("content") or "").strip()


def _list(row: Row, column: str) -> list[Any]:
    """Return the messages of a row, which may be a JSON string, as in CSV."""
    value = row.fields[column]
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{row.where}: column {column!r} is not JSON ({error}); fix or remove this row") from None
    if not isinstance(value, list):
        raise InputError(
            f"{row.where}: column {column!r} is {short_repr(value)}, not a list of messages such as "
            '[{"role": "user", "content": "Hello"}]; fix or remove this row'
        )
    if not value:
        raise InputError(f"{row.where}: the conversation is empty; fix or remove this row")
    return value


def _message(value: Any, index: int, where: str) -> tuple[dict[str, str], bool]:
    """Return a message as strings, and whether its text is trained.

    Raises:
        InputError: the message is invalid.
    """
    at = f"{where}: message {index + 1}"
    if not isinstance(value, dict):
        raise InputError(
            f'{at} is {short_repr(value)}, not an object such as {{"role": "user", "content": "Hello"}}; {_REMEDY}'
        )
    role, content = value.get("role"), value.get("content")
    if role not in ROLES:
        raise InputError(f"{at} has the role {short_repr(role)}, not one of {', '.join(ROLES)}; {_REMEDY}")
    if called := next((name for name in _UNSUPPORTED if value.get(name)), None):
        raise InputError(f"{at} has {called!r}, which is not supported; write the call as text in 'content'")
    if isinstance(content, list):
        raise InputError(f"{at} has a list as content, as for images, but only text is supported; {_REMEDY}")
    if not isinstance(content, str):
        raise InputError(f"{at} has the content {short_repr(content)}, not a text; {_REMEDY}")
    if role == "assistant" and not content.strip():
        raise InputError(f"{at}, an answer of the assistant, is empty; {_REMEDY}")
    is_trained, weight = value.get("train"), value.get("weight")  # null as in tables, where all messages have them
    if not isinstance(is_trained, bool | None):
        raise InputError(f"{at} has train={short_repr(is_trained)}, not true or false; {_REMEDY}")
    if weight not in (None, 0, 1):
        raise InputError(f"{at} has weight={short_repr(weight)}, not 0 or 1; {_REMEDY}")
    if is_trained is None:
        is_trained = weight != 0
    strings = {name: text for name, text in value.items() if isinstance(text, str)}
    return strings, is_trained
