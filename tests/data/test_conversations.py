"""Rows of conversations: their shapes in each file format, and invalid ones."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpt_lightning.data.conversations import Conversation, RowReader
from gpt_lightning.data.sources.row_formats import Row
from gpt_lightning.data.sources.source import read_rows
from gpt_lightning.errors import InputError
from tests.data.drive import write_rows

USER = {"role": "user", "content": "Hello"}
ANSWER = {"role": "assistant", "content": "Hi!"}


def read(row: dict[str, Any], **arguments: Any) -> Conversation:
    """Return the conversation of a row, or raise its error."""
    defaults: dict[str, Any] = {"template": None, "target": None, "has_answers": True}
    (found,) = RowReader("id", "messages", **(defaults | arguments)).read([Row(row, "rows:7")])
    if isinstance(found, InputError):
        raise found
    return found


def texts(conversation: Conversation) -> list[tuple[str, str]]:
    return [(each["role"], each["content"]) for each in conversation.messages]


EXPECTED = [("user", "Hello"), ("assistant", "Hi!")]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, ANSWER]},
        {"messages": json.dumps([USER, ANSWER])},
        {"messages": [{**USER, "tool_calls": None, "name": None}, ANSWER]},
        {"messages": [USER, ANSWER, {"role": "user", "content": "Bye"}], "instruction": "ignored"},
        {"prompt": "Hello", "completion": "Hi!"},
        {"instruction": "Hello", "input": "", "output": "Hi!"},
        {"instruction": "Hello", "input": None, "output": "Hi!"},
        {"instruction": "Hello", "output": ["Hi!"], "messages": None},
    ],
)
def test_shapes_of_rows(row: dict[str, Any]) -> None:
    assert texts(read(row)) == EXPECTED
    assert read(row).references == ("Hi!",)


def test_instruction_and_input_are_paragraphs() -> None:
    row = {"instruction": "Sum up.", "input": "A text.", "output": "Text."}
    assert texts(read(row))[0] == ("user", "Sum up.\n\nA text.")


def test_columns_with_a_template() -> None:
    row = {"en": "Go.", "meta": {"n": 3}, "fr": ["Va !", "Allez !"]}
    found = read(row, template="{{{meta.n}}} French: {en}", target="fr")
    assert texts(found) == [("user", "{3} French: Go."), ("assistant", "Va !")]
    assert found.references == ("Va !", "Allez !"), "training uses the first, evaluation all"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hello", "completion": ""},
        {"prompt": "Hello", "completion": None},
        {"prompt": "Hello"},
        {"messages": [USER, {"role": "assistant", "content": ""}]},
        {"messages": [USER, {"role": "assistant", "content": None}]},
    ],
)
def test_rows_to_predict_need_no_answer(row: dict[str, Any]) -> None:
    found = read(row, has_answers=False)
    assert (texts(found), found.references) == ([("user", "Hello")], ())
    with pytest.raises(InputError):
        read(row)


def test_nested_references_of_rows_to_predict() -> None:
    pair = {"translation": {"en": "Hello", "fr": "Bonjour"}}
    columns = {"template": "{translation.en}", "target": "translation.fr"}
    assert read(pair, has_answers=False, **columns).references == ("Bonjour",)


def test_formats(tmp_path: Path) -> None:
    """The same conversation in JSON Lines, CSV and Parquet."""
    messages = [{"role": "system", "content": "Be kind."}, USER, {**ANSWER, "train": False}, USER, ANSWER]
    jsonl = write_rows(tmp_path / "rows.jsonl", [{"messages": messages}])
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["messages"], [json.dumps(messages)]])
    pq.write_table(pa.Table.from_pylist([{"messages": messages}]), tmp_path / "rows.parquet")
    for path in (jsonl, str(tmp_path / "rows.csv"), str(tmp_path / "rows.parquet")):
        (found,) = RowReader("id", "messages", None, None, has_answers=True).read(read_rows(path, split="train"))
        assert isinstance(found, Conversation)
        assert texts(found) == [("system", "Be kind."), *EXPECTED, *EXPECTED]
        assert found.is_trained == (True, True, False, True, True)
        assert found.where.startswith(path)


@pytest.mark.parametrize("key", [{"train": False}, {"weight": 0}, {"weight": 0.0}])
def test_messages_without_loss(key: dict[str, Any]) -> None:
    assert read({"messages": [USER, {**ANSWER, **key}]}).is_trained == (True, False)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "the conversation is empty"),
        ([{**USER, "role": "human"}, ANSWER], "message 1 has the role 'human', not one of system, user, assistant"),
        ([{"content": "a"}, ANSWER], "message 1 has the role None"),
        ([USER], "no answer of the assistant to a message"),
        ([ANSWER], "no answer of the assistant to a message"),
        ([USER, {**ANSWER, "content": " \n"}], "message 2, an answer of the assistant, is empty"),
        ([{"role": "system", "content": "a"}] * 2 + [USER, ANSWER], "has two system messages; join them in front"),
        ([USER, {"role": "system", "content": "a"}, ANSWER], "has a system message that is not the first"),
        ([{**USER, "content": [{"type": "image_url"}]}, ANSWER], "message 1 has a list as content, as for images"),
        ([{**USER, "content": None}, ANSWER], "message 1 has the content None, not a text"),
        ([USER, {**ANSWER, "tool_calls": [{"id": "a"}]}], "message 2 has 'tool_calls', which is not supported"),
        ([USER, {**ANSWER, "train": "no"}], "message 2 has train='no', not true or false"),
        (["Hello"], "message 1 is 'Hello', not an object such as"),
        ({"role": "user"}, "column 'messages' is .*, not a list of messages"),
        ("[{", "column 'messages' is not JSON"),
    ],
)
def test_invalid_messages(messages: Any, reason: str) -> None:
    with pytest.raises(InputError, match=rf"^rows:7: .*{reason}"):
        read({"messages": messages})


@pytest.mark.parametrize(
    ("row", "arguments", "reason"),
    [
        ({"text": "a"}, {}, "no column 'messages', .* the columns are 'text'; set --data.template"),
        ({"prompt": "a"}, {}, "no column 'completion'"),
        ({"prompt": "a", "completion": ""}, {}, "column 'completion' is '', not a text or a list of texts"),
        ({"prompt": "a", "completion": []}, {}, r"column 'completion' is \[\], not a text or a list of texts"),
        ({"prompt": "a", "completion": ["b", None]}, {}, "column 'completion' is .*, not a text or a list of texts"),
        ({"prompt": " ", "completion": "b"}, {}, "column 'prompt' is empty"),
        ({"fr": "a"}, {"template": "{en}", "target": "fr"}, "no column 'en'; .*choose one with --data.template=COLUMN"),
        ({"en": "a"}, {"template": "{en}", "target": "fr"}, "no column 'fr'; .*choose one with --data.target=COLUMN"),
        (
            {"en": "", "fr": "a"},
            {"template": "To French: {en}", "target": "fr"},
            "column 'en' of the template is empty",
        ),
        (
            {"en": ["a"], "fr": "a"},
            {"template": "{en}", "target": "fr"},
            r"column 'en' is \['a'\], not a text or a num",
        ),
    ],
)
def test_invalid_columns(row: dict[str, Any], arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=rf"^rows:7: .*{reason}"):
        read(row, **arguments)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"template": "{en}"}, "--data.template={en} and --data.target=None belong together"),
        ({"target": "fr"}, "belong together"),
        ({"template": "{fr}: {en}", "target": "fr"}, "--data.target=fr is also a column of --data.template"),
        ({"template": "French", "target": "fr"}, "must have the names of columns in braces"),
        ({"template": "{en", "target": "fr"}, "expected '}' before end of string. Write a column as {column}"),
        ({"template": "{}", "target": "fr"}, "must have the names of columns in braces"),
        ({"template": "{en!r}", "target": "fr"}, "must have the names of columns in braces"),
    ],
)
def test_invalid_templates(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read({"en": "a", "fr": "b"}, **arguments)
