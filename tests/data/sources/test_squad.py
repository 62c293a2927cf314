"""Questions: equal results from all shapes, errors, and answers that are recovered from their tokens."""

import itertools
import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt_lightning.data.sources.formats import Row, file_rows
from gpt_lightning.data.sources.squad import Question, answer_tokens, parse_questions
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.build import bytes_tokenizer, train_bpe, train_characters
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from tests.data.drive import token_span

CONTEXT = "  Anna\r\nlives in 東京 with 👩‍👩‍👧 since 1999."
WHO: dict[str, Any] = {"text": "Anna", "answer_start": 2}
WHERE: dict[str, Any] = {"text": "東京", "answer_start": CONTEXT.index("東")}
FLAT = {"id": "q", "question": "Where?", "context": CONTEXT, "answers": [WHERE]}


def parse_row(fields: Mapping[str, Any], *, has_labels: bool = True, **columns: Any) -> Question | InputError:
    """Return the question of one row, or its error."""
    (result,) = parse_questions([Row(fields, "a.jsonl:7")], has_labels=has_labels, **columns)
    return result


def parse_valid_row(fields: Mapping[str, Any], *, has_labels: bool = True, **columns: Any) -> Question:
    result = parse_row(fields, has_labels=has_labels, **columns)
    assert isinstance(result, Question), result
    return result


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([WHO, WHERE], (("Anna", 2), ("東京", 17))),
        ({"text": ["Anna", "東京"], "answer_start": [2, 17]}, (("Anna", 2), ("東京", 17))),
        ([], ()),
        (None, ()),
        ({"text": [], "answer_start": []}, ()),
        ([{"text": " \r\n東京 ".strip("\r\n "), "answer_start": 17}], (("東京", 17),)),
        ([{"text": "  Anna\r\n", "answer_start": 0}], (("Anna", 2),)),
    ],
)
def test_flat_rows_accept_answers_in_any_shape(answers: object, expected: object) -> None:
    assert parse_valid_row({**FLAT, "answers": answers}) == Question("q", "Where?", CONTEXT, expected, "a.jsonl:7")  # type: ignore[arg-type]


def test_columns_can_be_chosen_and_an_id_may_be_a_number_or_missing() -> None:
    row = {"n": 3, "ask": "Who?", "text": CONTEXT, "gold": [WHO]}
    columns: dict[str, Any] = {
        "id_column": "n",
        "question_column": "ask",
        "context_column": "text",
        "answers_column": "gold",
    }
    assert parse_valid_row(row, **columns) == Question("3", "Who?", CONTEXT, (("Anna", 2),), "a.jsonl:7")
    assert parse_valid_row({**row, "n": None}, **columns).id is None
    assert parse_valid_row({**FLAT, "answers": []}, id_column="absent").id is None


def test_prediction_needs_no_answers() -> None:
    row = {"question": "Who?", "context": CONTEXT}
    assert parse_valid_row(row, has_labels=False).answers == ()
    assert parse_valid_row({**row, "answers": None, "is_impossible": False}, has_labels=False).answers == ()
    assert parse_valid_row({**FLAT, "answers": "nonsense", "is_impossible": "True"}, has_labels=False).answers == (), (
        "answers are ignored"
    )


def test_impossible_questions_have_no_answers() -> None:
    fields: dict[str, Any]
    for fields in ({"answers": []}, {"answers": None}, {}, {"answers": [], "plausible_answers": [WHO]}):
        assert parse_valid_row({"question": "Who?", "context": CONTEXT, "is_impossible": True, **fields}).answers == ()
    assert parse_valid_row({**FLAT, "is_impossible": False}).answers == (("東京", 17),)


def squad_file(path: Path, paragraphs: object) -> Path:
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "T", "paragraphs": paragraphs}]}))
    return path


def test_a_nested_squad_file_yields_its_questions(tmp_path: Path) -> None:
    path = squad_file(
        tmp_path / "a.json",
        [
            {
                "context": CONTEXT,
                "qas": [
                    {"id": "q1", "question": "Who?", "answers": [WHO, WHO], "is_impossible": False},
                    {"id": "q2", "question": "Why?", "answers": [], "is_impossible": True, "plausible_answers": [WHO]},
                ],
            },
            {"context": "Second.", "qas": [{"question": "What?", "answers": {"text": ["S"], "answer_start": [0]}}]},
        ],
    )
    # The column arguments do not apply to SQuAD's format.
    assert list(parse_questions(file_rows(path), has_labels=True, question_column="ask", answers_column="gold")) == [
        Question("q1", "Who?", CONTEXT, (("Anna", 2), ("Anna", 2)), f"{path}:row 1, question q1"),
        Question("q2", "Why?", CONTEXT, (), f"{path}:row 1, question q2"),
        Question(None, "What?", "Second.", (("S", 0),), f"{path}:row 1, paragraph 2, question 1"),
    ]


def test_an_invalid_question_does_not_hide_the_others(tmp_path: Path) -> None:
    path = squad_file(
        tmp_path / "a.json",
        [
            {"context": CONTEXT, "qas": [{"id": "q1", "question": " ", "answers": []}, 7, {"id": "q", "answers": []}]},
            {"qas": []},
            {"context": CONTEXT, "qas": {}},
            {"context": CONTEXT, "qas": [{"id": "q5", "question": "Who?", "answers": [WHO]}, {"question": "Who?"}]},
        ],
    )
    found = list(parse_questions(file_rows(path), has_labels=True))
    messages = [str(item) if isinstance(item, InputError) else item.id for item in found]
    for message, expected in zip(
        messages,
        [
            r"a\.json:row 1, question q1: column 'question' is empty; fix or remove this row",
            r'a\.json:row 1, paragraph 1: entry 2 of "qas" is not an object with a "question"; fix or remove it',
            r'a\.json:row 1, paragraph 1: entry 3 of "qas" is not an object with a "question"',
            r'a\.json:row 1, paragraph 2: not an object with a "context" and a list "qas"; fix or remove it',
            r'a\.json:row 1, paragraph 3: not an object with a "context" and a list "qas"',
            r"^q5$",
            r"a\.json:row 1, paragraph 4, question 2: there is no column 'answers' with answers",
        ],
        strict=True,
    ):
        assert message is not None
        assert re.search(expected, message)


def answer(text: object, start: object) -> dict[str, Any]:
    return {"answers": [{"text": text, "answer_start": start}]}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no question": ({"question": ...}, r"there is no column 'question'; .*; choose one with --data\.question_column="),
    "no context": ({"context": ...}, r"there is no column 'context'; .*; choose one with --data\.context_column="),
    "no answers": (
        {"answers": ...},
        r"no column 'answers' with answers; the columns are 'id', .*--data\.answers_column=",
    ),
    "null": ({"question": None}, r"'question' is null"),
    "number": ({"context": 7}, r"'context' is of type int, not a string"),
    "blank question": ({"question": " \n"}, r"'question' is empty"),
    "empty context": ({"context": ""}, r"'context' is empty"),
    "before": (answer("Anna", -1), r"'Anna' starts at character -1, outside .* of 42 characters; it occurs at 2: fix"),
    "after": (answer("Anna", 42), r"starts at character 42, outside its context of 42 characters; it occurs at 2:"),
    "off by one": (
        answer("Anna", 3),
        r"the answer is 'Anna', but at character 3 the context has 'nna\\r'; it occurs at 2:",
    ),
    "bytes": (answer("with", 22), r"the answer is 'with', but .* has '.*'; it occurs at 20: .*characters, not bytes"),
    "nowhere": (answer("Bob", 3), r"the context has 'nna'; the context does not contain it: fix the answer or remove"),
    "past the end": (answer("1999. ", 32), r"the answer is '1999\. ', but at character .* does not contain it"),
    "empty answer": (answer("", 3), r"the text of an answer is empty; fix it, or remove it if there is no answer"),
    "blank answer": (answer("  ", 0), r"the text of an answer is empty"),
    "no string": (answer(7, 3), r"the answer 7 is not a string; fix or remove it"),
    "no number": (answer("Anna", "2"), r"the start of the answer 'Anna' is '2', not a whole number"),
    "true": (answer("nna", True), r"the start of the answer 'nna' is True, not a whole number"),
    "string": ({"answers": "Anna"}, r"'answers' is of type str, not a list of .*; write answers as \.jsonl, because"),
    "whole number": ({"answers": 7}, r"'answers' is of type int, not a list of .*; fix it"),
    "strings": (
        {"answers": ["Anna"]},
        r"'answers' contains 'Anna', but must be a list of \{\"text\": \.\.\., \"answer_st",
    ),
    "no start": ({"answers": [{"text": "A"}]}, r"'answers' contains \{'text': 'A'\}, but must be"),
    "uneven": (
        {"answers": {"text": ["A"], "answer_start": []}},
        r"'answers' is an object, but .* are not lists of the same length",
    ),
    "impossible": (
        {"is_impossible": True},
        r'"is_impossible" is true, but the row has the answer \'東京\'; remove the answer, or set it to false',
    ),
    "possible": (
        {"is_impossible": False, "answers": []},
        r"\"is_impossible\" is false, but 'answers' is empty; add an",
    ),
    "not a boolean": ({"is_impossible": "no"}, r"\"is_impossible\" is 'no', not true or false; fix it"),
    "long": (answer("x" * 999, 3), r"the answer is 'x{58}…, but"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_invalid_rows_are_reported_and_the_next_is_read(change: dict[str, Any], message: str) -> None:
    fields = {name: value for name, value in {**FLAT, **change}.items() if value is not ...}
    rows = [Row(fields, "a.jsonl:7"), Row(FLAT, "a.jsonl:8")]
    error, question = parse_questions(rows, has_labels=True)
    assert isinstance(error, InputError)
    assert re.search("^a\\.jsonl:7: .*" + message, str(error)), error
    assert "\n" not in str(error)
    assert isinstance(question, Question)


def test_paragraphs_that_are_not_a_list_are_reported() -> None:
    found = parse_row({"paragraphs": {}})
    assert str(found) == 'a.jsonl:7: "paragraphs" is not a list; fix or remove this row'


def test_the_nearest_occurrence_of_an_answer_is_suggested() -> None:
    context = "a" + " b" * 3 + " a"
    for start, nearest in [(1, 0), (3, 0), (7, 8), (99, 8), (-9, 0)]:
        found = parse_row({"question": "?", "context": context, **answer("a", start)})
        assert f"it occurs at {nearest}:" in str(found)


HARD = [
    "e\u0301",
    "o\u0323\u0302",
    "👩‍👩‍👧",
    "🏳️‍🌈",
    "👍🏽",
    "汉字",
    "かな",
    "한국",
    " ",
    "  ",
    "\r\n",
    "\n",
    "\t",
    "\u00a0",
    "\u200b",
]
PLAIN = ["the", " the", " answer", "Anna", " Anna", "19", "99", ".", ",", "'s", "("]


def hard_text(generator: random.Random) -> str:
    return "".join(generator.choices(HARD + PLAIN, k=generator.randrange(1, 25)))


def make_tokenizer(kind: str) -> Tokenizer:
    if kind == "characters":
        return train_characters([CONTEXT])  # most characters of HARD are unknown
    if kind == "bytes":
        return bytes_tokenizer()
    generator = random.Random(1)
    return train_bpe([hard_text(generator) for _ in range(200)], 257 if kind == "bpe small" else 600)


@pytest.fixture(scope="module", params=["characters", "bytes", "bpe small", "bpe"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return make_tokenizer(request.param)


def test_offsets_belong_to_the_ids(tokenizer: Tokenizer) -> None:
    texts = ["", CONTEXT, "".join(HARD)]
    for text, (ids, offsets) in zip(texts, tokenizer.encode_with_offsets(texts), strict=True):
        assert ids.tolist() == tokenizer.encode(text)
        assert ids.dtype == offsets.dtype == np.int64
        assert offsets.shape == (len(ids), 2)
        assert {i for start, stop in offsets for i in range(start, stop)} == set(range(len(text)))


def test_answers_are_recovered_from_their_tokens(tokenizer: Tokenizer) -> None:
    generator = random.Random(0)
    exact = 0
    for text in [hard_text(generator) for _ in range(40)]:
        ((_, offsets),) = tokenizer.encode_with_offsets([text])
        for start, end in itertools.combinations(range(len(text) + 1), 2):
            if text[start:end] != text[start:end].strip():  # parse_questions strips whitespace
                continue
            overlapping = [set(range(a, b)) for a, b in offsets.tolist() if a < end and start < b]
            excess = set().union(*overlapping) - set(range(start, end))
            tokens = answer_tokens(start, end, offsets)
            assert tokens is not None
            assert tokens[1] - tokens[0] + 1 == len(overlapping)
            span = token_span(*tokens, offsets, text)
            assert span[0] <= start < end <= span[1]
            assert (span == (start, end)) == all(text[i].isspace() for i in excess)
            exact += span == (start, end)
    assert exact > 1000


def test_empty_tokens_contain_no_answer() -> None:
    offsets = np.array([[0, 0], [0, 3], [3, 3], [3, 9], [12, 15], [15, 15]])
    assert answer_tokens(0, 3, offsets) == (1, 1)
    assert answer_tokens(0, 4, offsets) == (1, 3)
    assert answer_tokens(9, 12, offsets) is None
    assert answer_tokens(8, 15, offsets) == (3, 4)
    assert answer_tokens(15, 16, offsets) is None
    assert answer_tokens(0, 1, np.empty((0, 2), dtype=np.int64)) is None
