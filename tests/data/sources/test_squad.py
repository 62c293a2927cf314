"""Questions: every shape gives the same ones, what is wrong is named, and answers come back from their tokens."""

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
from gpt_lightning.data.sources.squad import Question, answer_tokens, questions
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.build import bytes_tokenizer, train_bpe, train_characters
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from tests.data.drive import token_span

CONTEXT = "  Anna\r\nlives in 東京 with 👩‍👩‍👧 since 1999."
WHO: dict[str, Any] = {"text": "Anna", "answer_start": 2}
WHERE: dict[str, Any] = {"text": "東京", "answer_start": CONTEXT.index("東")}
FLAT = {"id": "q", "question": "Where?", "context": CONTEXT, "answers": [WHERE]}


def only(fields: Mapping[str, Any], *, labeled: bool = True, **columns: Any) -> Question | InputError:
    """The one result of one row."""
    (found,) = questions([Row(fields, "a.jsonl:7")], labeled=labeled, **columns)
    return found


def good(fields: Mapping[str, Any], *, labeled: bool = True, **columns: Any) -> Question:
    found = only(fields, labeled=labeled, **columns)
    assert isinstance(found, Question), found
    return found


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
def test_flat_rows_hold_answers_in_any_shape(answers: object, expected: object) -> None:
    assert good({**FLAT, "answers": answers}) == Question("q", "Where?", CONTEXT, expected, "a.jsonl:7")  # type: ignore[arg-type]


def test_columns_can_be_chosen_and_an_id_may_be_a_number_or_missing() -> None:
    row = {"n": 3, "ask": "Who?", "text": CONTEXT, "gold": [WHO]}
    columns: dict[str, Any] = {
        "id_column": "n",
        "question_column": "ask",
        "context_column": "text",
        "answers_column": "gold",
    }
    assert good(row, **columns) == Question("3", "Who?", CONTEXT, (("Anna", 2),), "a.jsonl:7")
    assert good({**row, "n": None}, **columns).id is None
    assert good({**FLAT, "answers": []}, id_column="absent").id is None


def test_prediction_needs_no_answers() -> None:
    row = {"question": "Who?", "context": CONTEXT}
    assert good(row, labeled=False).answers == ()
    assert good({**row, "answers": None, "is_impossible": False}, labeled=False).answers == ()
    assert good({**FLAT, "answers": "nonsense", "is_impossible": "True"}, labeled=False).answers == (), "not looked at"


def test_impossible_questions_have_no_answers() -> None:
    fields: dict[str, Any]
    for fields in ({"answers": []}, {"answers": None}, {}, {"answers": [], "plausible_answers": [WHO]}):
        assert good({"question": "Who?", "context": CONTEXT, "is_impossible": True, **fields}).answers == ()
    assert good({**FLAT, "is_impossible": False}).answers == (("東京", 17),)


def squad_file(path: Path, paragraphs: object) -> Path:
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "T", "paragraphs": paragraphs}]}))
    return path


def test_the_nested_file_of_squad_gives_its_questions(tmp_path: Path) -> None:
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
    # The names inside are the format's, whatever the columns of flat rows are.
    assert list(questions(file_rows(path), labeled=True, question_column="ask", answers_column="gold")) == [
        Question("q1", "Who?", CONTEXT, (("Anna", 2), ("Anna", 2)), f"{path}:row 1, question q1"),
        Question("q2", "Why?", CONTEXT, (), f"{path}:row 1, question q2"),
        Question(None, "What?", "Second.", (("S", 0),), f"{path}:row 1, paragraph 2, question 1"),
    ]


def test_one_bad_question_does_not_hide_the_others(tmp_path: Path) -> None:
    path = squad_file(
        tmp_path / "a.json",
        [
            {"context": CONTEXT, "qas": [{"id": "q1", "question": " ", "answers": []}, 7, {"id": "q", "answers": []}]},
            {"qas": []},
            {"context": CONTEXT, "qas": {}},
            {"context": CONTEXT, "qas": [{"id": "q5", "question": "Who?", "answers": [WHO]}, {"question": "Who?"}]},
        ],
    )
    found = list(questions(file_rows(path), labeled=True))
    messages = [str(item) if isinstance(item, InputError) else item.id for item in found]
    for message, expected in zip(
        messages,
        [
            r"a\.json:row 1, question q1: 'question' is empty; fix or remove this row",
            r'a\.json:row 1, paragraph 1: entry 2 of "qas" is not an object with a "question"; fix or remove it',
            r'a\.json:row 1, paragraph 1: entry 3 of "qas" is not an object with a "question"',
            r'a\.json:row 1, paragraph 2: not an object with a "context" and a list under "qas"; fix or remove it',
            r'a\.json:row 1, paragraph 3: not an object with a "context" and a list under "qas"',
            r"^q5$",
            r"a\.json:row 1, paragraph 4, question 2: there is no column 'answers' to learn from",
        ],
        strict=True,
    ):
        assert message is not None
        assert re.search(expected, message)


def answer(text: object, start: object) -> dict[str, Any]:
    return {"answers": [{"text": text, "answer_start": start}]}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no question": ({"question": ...}, r"there is no column 'question'; .*; choose with --data\.question_column"),
    "no context": ({"context": ...}, r"there is no column 'context'; .*; choose with --data\.context_column"),
    "no answers": (
        {"answers": ...},
        r"no column 'answers' to learn from; the columns are 'id', .*--data\.answers_column",
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
    "nowhere": (answer("Bob", 3), r"the context has 'nna'; the context does not hold it: fix the answer or remove"),
    "past the end": (answer("1999. ", 32), r"the answer is '1999\. ', but at character .* does not hold it"),
    "empty answer": (answer("", 3), r"an answer's text is empty; fix it, or remove it if there is no answer"),
    "blank answer": (answer("  ", 0), r"an answer's text is empty"),
    "no string": (answer(7, 3), r"the answer 7 is not a string; fix or remove it"),
    "no number": (answer("Anna", "2"), r"the start of the answer 'Anna' is '2', not a whole number"),
    "true": (answer("nna", True), r"the start of the answer 'nna' is True, not a whole number"),
    "string": ({"answers": "Anna"}, r"'answers' is of type str, not a list of .*; a table of text cannot hold answers"),
    "strings": (
        {"answers": ["Anna"]},
        r"'answers' holds 'Anna', but must be a list of \{\"text\": \.\.\., \"answer_st",
    ),
    "no start": ({"answers": [{"text": "A"}]}, r"'answers' holds \{'text': 'A'\}, but must be"),
    "uneven": ({"answers": {"text": ["A"], "answer_start": []}}, r"'answers' is an object without lists of one length"),
    "impossible": (
        {"is_impossible": True},
        r'"is_impossible" is true, yet the row has the answer \'東京\'; remove one of them',
    ),
    "possible": (
        {"is_impossible": False, "answers": []},
        r"\"is_impossible\" is false, yet 'answers' is empty; give an",
    ),
    "perhaps": ({"is_impossible": "no"}, r"\"is_impossible\" is 'no', not true or false; fix it"),
    "long": (answer("x" * 999, 3), r"the answer is 'x{58}…, but"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_bad_rows_are_named_and_the_next_is_read(change: dict[str, Any], message: str) -> None:
    fields = {name: value for name, value in {**FLAT, **change}.items() if value is not ...}
    rows = [Row(fields, "a.jsonl:7"), Row(FLAT, "a.jsonl:8")]
    bad, after = questions(rows, labeled=True)
    assert isinstance(bad, InputError)
    assert re.search("^a\\.jsonl:7: .*" + message, str(bad)), bad
    assert "\n" not in str(bad)
    assert isinstance(after, Question)


def test_paragraphs_that_are_no_list_are_named() -> None:
    found = only({"paragraphs": {}})
    assert str(found) == 'a.jsonl:7: "paragraphs" is not a list; fix or remove this row'


def test_the_nearest_place_of_an_answer_is_suggested() -> None:
    context = "a" + " b" * 3 + " a"
    for start, nearest in [(1, 0), (3, 0), (7, 8), (99, 8), (-9, 0)]:
        found = only({"question": "?", "context": context, **answer("a", start)})
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


def make(kind: str) -> Tokenizer:
    if kind == "characters":
        return train_characters([CONTEXT])  # most of HARD is unknown to it
    if kind == "bytes":
        return bytes_tokenizer()
    generator = random.Random(1)
    return train_bpe([hard_text(generator) for _ in range(200)], 257 if kind == "bpe small" else 600)


@pytest.fixture(scope="module", params=["characters", "bytes", "bpe small", "bpe"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return make(request.param)


def test_offsets_belong_to_the_ids(tokenizer: Tokenizer) -> None:
    texts = ["", CONTEXT, "".join(HARD)]
    for text, (ids, offsets) in zip(texts, tokenizer.encode_with_offsets(texts), strict=True):
        assert ids.tolist() == tokenizer.encode(text)
        assert ids.dtype == offsets.dtype == np.int64
        assert offsets.shape == (len(ids), 2)
        assert {i for start, stop in offsets for i in range(start, stop)} == set(range(len(text)))


def test_answers_come_back_from_their_tokens(tokenizer: Tokenizer) -> None:
    generator = random.Random(0)
    exact = 0
    for text in [hard_text(generator) for _ in range(40)]:
        ((_, offsets),) = tokenizer.encode_with_offsets([text])
        for start, end in itertools.combinations(range(len(text) + 1), 2):
            if text[start:end] != text[start:end].strip():  # questions() cuts whitespace off
                continue
            holding = [set(range(a, b)) for a, b in offsets.tolist() if a < end and start < b]
            beyond = set().union(*holding) - set(range(start, end))
            tokens = answer_tokens(start, end, offsets)
            assert tokens is not None
            assert tokens[1] - tokens[0] + 1 == len(holding)
            back = token_span(*tokens, offsets, text)
            assert back[0] <= start < end <= back[1]
            assert (back == (start, end)) == all(text[i].isspace() for i in beyond)
            exact += back == (start, end)
    assert exact > 1000


def test_tokens_of_nothing_hold_no_answer() -> None:
    offsets = np.array([[0, 0], [0, 3], [3, 3], [3, 9], [12, 15], [15, 15]])
    assert answer_tokens(0, 3, offsets) == (1, 1)
    assert answer_tokens(0, 4, offsets) == (1, 3)
    assert answer_tokens(9, 12, offsets) is None
    assert answer_tokens(8, 15, offsets) == (3, 4)
    assert answer_tokens(15, 16, offsets) is None
    assert answer_tokens(0, 1, np.empty((0, 2), dtype=np.int64)) is None
