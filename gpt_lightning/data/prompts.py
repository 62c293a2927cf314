"""Prompts for text generation: plain text, chats, and files of them."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from gpt_lightning.data.sources.encoding import codec_of_mark
from gpt_lightning.data.sources.formats import SUFFIXES, file_rows, suffix, supported_formats
from gpt_lightning.data.sources.read_file import UndecodableLine, numbered_lines
from gpt_lightning.data.sources.row_formats import Lines, Row, join_names, jsonl_rows, short_repr, without_surrogates
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.tokenizers.prompt import Message, chat_prompt, text_prompt
from gpt_lightning.tokenizers.tokenizer import Tokenizer

MESSAGES_EXAMPLE: Final = '[{"role": "user", "content": "Hello"}]'
_STANDARD_INPUT: Final = Path("standard input")
_COLUMNS: Final = ("messages", "prompt", "text")
OUTPUT_COLUMNS: Final = ("sample", "completion", "finish_reason", "token_ids", "logprobs")


@dataclass(frozen=True)
class Prompt:
    """Text or chat to continue.

    Attributes:
        content: text, or the messages of a chat.
        where: location for messages, such as ``path:line``.
        fields: columns of its row.
    """

    content: str | list[Message]
    where: str
    fields: Mapping[str, Any]

    def encode(
        self, tokenizer: Tokenizer, *, is_chat: bool, is_raw: bool, layout: InputLayout | None = None
    ) -> list[int]:
        """Return the token ids of the prompt.

        Args:
            tokenizer: tokenizer of the model.
            is_chat: the text is the message of a user. Messages are always a chat.
            is_raw: the text is the whole prompt: add no tokens.
            layout: complete layout of the source of an encoder-decoder; None for language models.

        Raises:
            InputError: the messages do not fit the chat template, or the prompt is both a chat and raw; or it is a
                chat, but the model is an encoder-decoder.
        """
        try:
            if isinstance(self.content, str) and not is_chat:
                return text_prompt(tokenizer, self.content, is_raw=is_raw, layout=layout)
            if layout is not None:
                raise InputError("an encoder-decoder reads a source text, not a chat. Give a text, without --chat")
            if is_raw:
                raise InputError("messages need the chat template. Leave --raw out")
            user: Message = {"role": "user", "content": str(self.content)}
            return chat_prompt(tokenizer, [user] if isinstance(self.content, str) else self.content)
        except InputError as error:
            raise InputError(f"{self.where}: {error}" if self.where else str(error)) from None


def file_prompts(path: Path, *, reserved: Collection[str] = OUTPUT_COLUMNS, limit: int | None = None) -> list[Prompt]:
    """Read the prompts of a file.

    Each line of a ``.txt`` file is a prompt. In other formats, each row has a column ``messages``, ``prompt`` or
    ``text``; the first of them counts.

    Args:
        path: a file with a supported suffix.
        reserved: columns that the rows must not have, because the output has them.
        limit: number of first rows to read; None reads all.

    Raises:
        InputError: the file is missing, empty or malformed, or a row has no prompt.
    """
    if not path.exists():
        raise InputError(f"--input {path}: there is no such file (in {Path.cwd()}). Check the path")
    if suffix(path) not in SUFFIXES:
        raise InputError(f"--input {path}: unsupported suffix. Rename it to match its format: {supported_formats()}")
    if suffix(path) == ".txt":
        return list(islice(_line_prompts(path, numbered_lines(path)), limit))
    prompts = [row_prompt(row, reserved) for row in islice(file_rows(path), limit)]
    if not prompts:
        raise InputError(f"--input {path}: there are no rows. Add rows to the file")
    return prompts


def standard_input_prompts(content: bytes) -> list[Prompt]:
    """Return the prompts in the bytes of standard input: JSON lines if the first one is an object, otherwise text.

    Raises:
        InputError: there is no prompt, or a line is malformed.
    """
    text = _decode(content)
    if not text:
        raise InputError("--input -: standard input is empty. Pipe prompts into the command")
    lines = enumerate(text.removesuffix("\n").split("\n"), start=1)
    if text.lstrip().startswith("{"):
        return [row_prompt(row) for row in jsonl_rows(_STANDARD_INPUT, lines)]
    if _is_json_array(text):
        raise InputError("--input -: standard input is a JSON array. Pipe JSON lines, or give the file with --input")
    return list(_line_prompts(_STANDARD_INPUT, lines))


def _decode(content: bytes) -> str:
    codec = codec_of_mark(content) or "utf-8"
    try:
        return content.decode(codec)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"--input -: line {line} of standard input is not {codec} text (byte {error.start}, counted from 0: "
            f"{error.reason}). Convert it to UTF-8"
        ) from error


def _is_json_array(text: str) -> bool:
    """Return whether a text is a JSON array of rows, and not a prompt with brackets."""
    try:
        rows = json.loads(text) if text.lstrip().startswith("[") else None
    except (ValueError, RecursionError):
        return False
    return isinstance(rows, list) and any(isinstance(row, dict) for row in rows)


def _line_prompts(path: Path, lines: Lines) -> Iterator[Prompt]:
    for number, line in lines:
        if isinstance(line, UndecodableLine):
            place = f"--input {path}: line {number}"
            raise InputError(f"{place} is not UTF-8 text. Convert the file to UTF-8") from line.error
        text = line.removesuffix("\n").removesuffix("\r")
        yield Prompt(text, f"{path}:{number}", {"prompt": text})


def row_prompt(row: Row, reserved: Collection[str] = OUTPUT_COLUMNS) -> Prompt:
    """Return the prompt of a row; see ``file_prompts``."""
    column = next((name for name in _COLUMNS if row.fields.get(name) is not None), None)
    if column is None:
        raise InputError(
            f"{row.where}: there is no prompt. Add a column 'prompt', 'text' or 'messages' "
            f"(its columns are {join_names(row.fields) or 'none'})"
        )
    if taken := [name for name in reserved if name in row.fields]:
        raise InputError(f"{row.where}: the column {taken[0]!r} is also one of the output. Rename it")
    fields: dict[str, Any] = without_surrogates(dict(row.fields))
    value = fields[column]
    if column == "messages":
        return Prompt(_messages(value, row.where), row.where, fields)
    if not isinstance(value, str):
        raise InputError(f"{row.where}: {column!r} is {short_repr(value)}, not a string. Fix the row")
    return Prompt(value, row.where, fields)


def are_messages(value: object) -> bool:
    """Return whether a value is a list of messages, at least one, each with the texts ``role`` and ``content``."""
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(
            isinstance(message, Mapping) and all(isinstance(message.get(name), str) for name in ("role", "content"))
            for message in value
        )
    )


def _messages(value: Any, where: str) -> list[Message]:
    if isinstance(value, str):  # as in CSV
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if not are_messages(value):
        raise InputError(
            f"{where}: 'messages' is {short_repr(value)}, not a list of messages such as {MESSAGES_EXAMPLE}. "
            "Fix the row"
        )
    return list(value)
