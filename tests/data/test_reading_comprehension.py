"""Question answering data: row shapes, invalid rows, alignment of answers and windows, limits, batches."""

import itertools
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.data.reading_comprehension import ReadingComprehension
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.build import train_bpe
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from tests.data.drive import HARD_TEXTS, TOKENIZERS, attach, batches, save_tokenizer, write_rows

CONTEXT = "  Anna\r\nlives in 東京 with 👩‍👩‍👧 since 1999."
WHO: dict[str, Any] = {"text": "Anna", "answer_start": 2}
WHERE: dict[str, Any] = {"text": "東京", "answer_start": CONTEXT.index("東")}
QUESTIONS: list[dict[str, Any]] = [
    {"id": "q1", "question": "Where?", "context": CONTEXT, "answers": [WHERE, WHO]},
    {"id": "q2", "question": "Why?", "context": CONTEXT, "answers": []},
    {"id": "q3", "question": "What is red?", "context": "A rose.", "answers": [{"text": "rose", "answer_start": 2}]},
]
GOLD = {"q1": "東京", "q2": None, "q3": "rose"}


def module(folder: Path, **arguments: Any) -> ReadingComprehension:
    defaults: dict[str, Any] = {
        "tokenizer": "bytes",
        "block_size": 128,
        "stride": 8,
        "max_question_tokens": 16,
        "batch_size": 2,
        "seed": 0,
        "cache_dir": str(folder / "cache"),
    }
    return ReadingComprehension(**(defaults | arguments))


class Window(NamedTuple):
    """Row of a batch without its padding."""

    id: str
    question: str
    context: str
    ids: list[int]
    context_mask: list[bool]
    offsets: list[tuple[int, int]]
    start: int
    end: int

    @property
    def answer(self) -> str | None:
        """Text at the labels; None if they are at the last token."""
        if self.start == self.end == len(self.ids) - 1:
            return None
        assert self.context_mask[self.start]
        assert self.context_mask[self.end]
        return self.context[self.offsets[self.start][0] : self.offsets[self.end][1]]


def windows_of(read: list[Any]) -> list[Window]:
    """Return the windows of evaluation batches, after checks that hold for all of them."""
    found = []
    for batch in read:
        size, width = batch["input_ids"].shape
        assert batch["attention_mask"].shape == batch["context_mask"].shape == (size, width)
        assert batch["offsets"].shape == (size, width, 2)
        assert not (batch["context_mask"] & ~batch["attention_mask"]).any()
        assert batch["null_positions"].tolist() == (batch["attention_mask"].sum(1) - 1).tolist()
        assert batch["examples"].tolist() == sorted(batch["examples"].tolist()), "windows of a question are consecutive"
        assert set(batch["examples"].tolist()) == set(range(len(batch["ids"])))
        for row, place in enumerate(batch["examples"].tolist()):
            length = int(batch["null_positions"][row]) + 1
            found.append(
                Window(
                    batch["ids"][place],
                    batch["questions"][place],
                    batch["contexts"][place],
                    batch["input_ids"][row, :length].tolist(),
                    batch["context_mask"][row, :length].tolist(),
                    [(start, end) for start, end in batch["offsets"][row, :length].tolist()],
                    int(batch["start_positions"][row]),
                    int(batch["end_positions"][row]),
                )
            )
    return found


def gold_of(read: list[Any]) -> dict[str, str | None]:
    """Return the answer at the labels of the windows of each question, or None."""
    found: dict[str, str | None] = {}
    for window in windows_of(read):
        answer = window.answer
        assert answer is None or found.get(window.id) in (None, answer)
        found[window.id] = answer or found.get(window.id)
    return found


# --- Row shapes


def write_shape(path: Path, shape: str) -> str:
    if shape == "nested":
        paragraphs = [
            {
                "context": context,
                "qas": [
                    {name: row[name] for name in ("id", "question", "answers")} | {"is_impossible": not row["answers"]}
                    for row in rows
                ],
            }
            for context, rows in itertools.groupby(QUESTIONS, key=lambda row: row["context"])
        ]
        document = {"version": "v2.0", "data": [{"title": "T", "paragraphs": paragraphs}]}
        path.with_suffix(".json").write_text(json.dumps(document))
        return str(path.with_suffix(".json"))
    rows = QUESTIONS
    if shape == "lists":
        rows = [
            {**row, "answers": {name: [each[name] for each in row["answers"]] for name in ("text", "answer_start")}}
            for row in QUESTIONS
        ]
    if shape == "null":
        rows = [{**row, "answers": row["answers"] or None} for row in QUESTIONS]
    return write_rows(path.with_suffix(".jsonl"), rows)


@pytest.mark.parametrize("shape", ["nested", "dicts", "lists", "null"])
def test_all_shapes_give_the_same_questions(tmp_path: Path, shape: str) -> None:
    path = write_shape(tmp_path / "a", shape)
    data = module(tmp_path, train=path, test=path)
    read = batches(data, "test")
    assert gold_of(read) == GOLD
    answers = {row: each for batch in read for row, each in zip(batch["ids"], batch["answers"], strict=True)}
    assert answers == {"q1": ["東京", "Anna"], "q2": [], "q3": ["rose"]}
    assert {window.id: window.question for window in windows_of(read)} == {
        row["id"]: row["question"] for row in QUESTIONS
    }


def test_columns_can_be_chosen_and_rows_without_ids_are_numbered(tmp_path: Path) -> None:
    rows = [{"ask": row["question"], "body": row["context"], "gold": row["answers"]} for row in QUESTIONS]
    path = write_rows(tmp_path / "a.jsonl", rows)
    data = module(tmp_path, train=path, test=path, question_column="ask", context_column="body", answers_column="gold")
    assert gold_of(batches(data, "test")) == {"0": "東京", "1": None, "2": "rose"}


# --- Invalid rows


def answer(text: object, start: object) -> dict[str, Any]:
    return {"answers": [{"text": text, "answer_start": start}]}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "outside": (answer("Anna", 42), r"the answer 'Anna' starts at character 42, outside its context of 42 characters"),
    "before": (answer("Anna", -1), r"the answer 'Anna' starts at character -1, outside"),
    "other text": (
        answer("Anna", 3),
        r"the answer is 'Anna', but at character 3 the context has 'nna\\r'; it occurs at 2",
    ),
    "nowhere": (answer("Bob", 2), r"the answer is 'Bob', but .* the context does not contain it"),
    "empty answer": (answer(" ", 0), r"the text of an answer is empty"),
    "impossible": ({"is_impossible": True}, r'"is_impossible" is true, but the row has the answer \'東京\''),
    "possible": ({"is_impossible": False, "answers": []}, r'"is_impossible" is false, but \'answers\' is empty'),
    "no question": ({"question": ...}, r"there is no column 'question'; .*; choose one with --data\.question_column="),
    "no context": ({"context": ...}, r"there is no column 'context'; .*; choose one with --data\.context_column="),
    "no answers": ({"answers": ...}, r"there is no column 'answers' with answers; .* with --data\.answers_column="),
    "null question": ({"question": None}, r"column 'question' is null"),
    "empty question": ({"question": " "}, r"column 'question' is empty"),
    "empty context": ({"context": "\r\n"}, r"column 'context' is empty"),
    "string": ({"answers": "Anna"}, r"column 'answers' is of type str, not a list"),
    "same id": ({"id": "q1"}, r"the id 'q1' is already used by .*/test\.jsonl:1; give each row a unique id"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_an_invalid_row_stops_or_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    bad = {name: value for name, value in {**QUESTIONS[0], "id": "bad", **change}.items() if value is not ...}
    train = write_shape(tmp_path / "train", "dicts")
    test = write_rows(tmp_path / "test.jsonl", [QUESTIONS[0], bad, *QUESTIONS[1:]])
    remedy = r".* \(--data\.on_bad_row=skip skips invalid rows\)$"
    with pytest.raises(InputError, match=f"^{re.escape(test)}:2: {message}{remedy}"):
        batches(module(tmp_path, train=train, test=test), "test")
    assert capsys.readouterr().out == ""
    data = module(tmp_path, train=train, test=test, on_bad_row="skip")
    assert gold_of(batches(data, "test")) == GOLD
    assert re.match(r"test: skipped 1 of 4 rows: 1 x .*\n$", capsys.readouterr().out)


def nested(path: Path, *questions: dict[str, Any]) -> str:
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": list(questions)}]}]}))
    return str(path)


def test_an_invalid_question_of_a_nested_file_is_reported_with_its_id(tmp_path: Path) -> None:
    path = nested(tmp_path / "a.json", {"id": "q1", "question": "Who?", **answer("Bob", 2)})
    with pytest.raises(InputError, match=r"a\.json:row 1, question q1: the answer is 'Bob'"):
        batches(module(tmp_path, train=path), "fit")


@pytest.mark.parametrize("name", ["q{}", "wiki:{}", "a b {}"])
def test_skipped_rows_are_counted_by_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = nested(
        tmp_path / "a.json",
        {"id": name.format("A"), "question": "Who?", **answer("Anna", 3)},
        {"id": name.format("B"), "question": "Who?", **answer("Anna", 2)},
        {"id": name.format("C"), "question": "Where?", **answer("lives", 3)},
        {"id": name.format("D"), "question": " ", **answer("lives", 3)},
    )
    data = module(tmp_path, train=path, on_bad_row="skip")
    assert sum(len(batch["examples"]) for batch in batches(data, "fit")) == 1
    assert capsys.readouterr().out == (
        "train: skipped 3 of 4 rows: 2 x the answer is …, but at character … the context has …, 1 x column … is empty\n"
    )


def test_a_split_without_valid_questions_is_refused(tmp_path: Path) -> None:
    path = nested(tmp_path / "a.json", {"id": "q1", "question": "Who?", **answer("Bob", 2)})
    with pytest.raises(InputError, match=r"^--data\.train: no row is valid; fix the file"):
        batches(module(tmp_path, train=path, on_bad_row="skip"), "fit")


# --- Alignment


def hard_questions() -> list[dict[str, Any]]:
    """Return questions about the hard texts.

    The answers are all chunks without whitespace and all pairs of consecutive chunks. One question per text has none.
    """
    rows: list[dict[str, Any]] = []
    for text in HARD_TEXTS:
        chunks = [match.span() for match in re.finditer(r"\S+", text)]
        spans = [*chunks, *((first[0], second[1]) for first, second in itertools.pairwise(chunks))]
        for start, end in spans:
            rows.append({"question": f"Où {len(rows)}?", "context": text, **answer(text[start:end], start)})
        rows.append({"question": f"Why {len(rows)}?", "context": text, "answers": []})
    return [{"id": f"q{number}", **row} for number, row in enumerate(rows)]


def index_of(part: list[int], ids: list[int], after: int) -> int:
    """Return the first index after ``after`` at which ``part`` occurs in ``ids``."""
    return next(index for index in range(after + 1, len(ids)) if ids[index : index + len(part)] == part)


def prompt_of(tokenizer: Tokenizer, question: str, max_tokens: int) -> list[int]:
    return [tokenizer.end_of_text_id, *tokenizer.encode(question)[:max_tokens], *tokenizer.encode("\n")]


@pytest.mark.parametrize("block_size", [24, 512])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_answers_are_recovered_from_the_windows(tmp_path: Path, kind: str, block_size: int) -> None:
    rows = {row["id"]: row for row in hard_questions()}
    path = write_rows(tmp_path / "a.jsonl", rows.values())
    tokenizer = save_tokenizer(tmp_path, kind)
    data = module(tmp_path, train=path, test=path, block_size=block_size, tokenizer=tokenizer, batch_size=5)
    read = windows_of(batches(data, "test"))
    assert len(read) == len(rows) if block_size == 512 else len(read) > len(rows)
    answered = 0
    for name, group in itertools.groupby(read, key=lambda window: window.id):
        row = rows.pop(name)
        ((ids, offsets),) = data.tokenizer.encode_with_offsets([row["context"]])
        prompt = prompt_of(data.tokenizer, row["question"], 16)
        assert data.tokenizer.decode(prompt) == row["question"] + "\n" or kind == "characters"
        gold: set[int] = set()
        if row["answers"]:
            (correct,) = row["answers"]
            start, stop = correct["answer_start"], correct["answer_start"] + len(correct["text"])
            gold = {token for token, (a, b) in enumerate(offsets) if any(start <= i < stop for i in range(a, b))}
        seen: set[int] = set()
        first = -1
        for window in group:
            assert len(window.ids) <= block_size
            assert window.ids[: len(prompt)] == prompt
            assert window.ids[-1] == data.tokenizer.end_of_text_id
            part = window.ids[len(prompt) : -1]
            first = index_of(part, ids.tolist(), first)
            tokens = set(range(first, first + len(part)))
            assert not first or first in seen, "windows share tokens"
            seen |= tokens
            has_text = [not row["context"][a:b].isspace() for a, b in offsets[first : first + len(part)]]
            assert window.context_mask == [False] * len(prompt) + has_text + [False]
            for token, (start, end) in zip(sorted(tokens), window.offsets[len(prompt) : -1], strict=True):
                text = row["context"][slice(*offsets[token])]
                assert row["context"][start:end] == (text if text.isspace() else text.strip())
            if gold and gold <= tokens:
                assert window.answer == row["answers"][0]["text"]
                answered += 1
            else:
                assert window.answer is None
        assert seen == set(range(len(ids))), "windows cover the context"
    assert not rows
    assert answered >= 60


@pytest.mark.parametrize("block_size", [24, 512])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_training_and_evaluation_have_the_same_windows(tmp_path: Path, kind: str, block_size: int) -> None:
    path = write_rows(tmp_path / "a.jsonl", hard_questions())
    tokenizer = save_tokenizer(tmp_path, kind)
    data = module(tmp_path, train=path, test=path, block_size=block_size, tokenizer=tokenizer, batch_size=5)
    evaluated = sorted((window.ids, window.start, window.end) for window in windows_of(batches(data, "test")))
    for epoch in range(2):
        trained = []
        for batch in batches(data, "fit", position=(epoch, 0)):
            assert batch["examples"].tolist() == list(range(len(batch["input_ids"])))
            for row, length in enumerate((batch["null_positions"] + 1).tolist()):
                start, end = int(batch["start_positions"][row]), int(batch["end_positions"][row])
                trained.append((batch["input_ids"][row, :length].tolist(), start, end))
        assert sorted(trained) == evaluated


def test_training_labels_are_the_first_answers(tmp_path: Path) -> None:
    path = write_shape(tmp_path / "a", "dicts")
    data = module(tmp_path, train=path)
    trained = set()
    for batch in batches(data, "fit"):
        for tokens, start, end, null in zip(
            batch["input_ids"], batch["start_positions"], batch["end_positions"], batch["null_positions"], strict=True
        ):
            assert int(start == null) == int(end == null)
            trained.add(None if start == null else data.tokenizer.decode(tokens[start : end + 1].tolist()))
    assert trained == set(GOLD.values())


def test_an_answer_that_ends_after_a_window_is_no_label_in_it(tmp_path: Path) -> None:
    context = "".join(f"{number:02} " for number in range(20)).strip()
    row = {"question": "?", "context": context, **answer("05 06 07", 15)}
    path = write_rows(tmp_path / "a.jsonl", [row])
    data = module(tmp_path, train=path, test=path, block_size=24, stride=10)
    found = [(window, window.answer) for window in windows_of(batches(data, "test"))]
    assert {answer for _, answer in found} == {None, "05 06 07"}
    for window, text in found:
        assert ("05 06 07" in data.tokenizer.decode(window.ids)) == (text is not None)


# --- Limits


def test_truncated_questions_are_reported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_shape(tmp_path / "a", "dicts")
    data = module(tmp_path, train=path, test=path, max_question_tokens=5)
    read = windows_of(batches(data, "test"))
    assert {window.id: data.tokenizer.decode(window.ids[: window.context_mask.index(True)]) for window in read} == {
        "q1": "Where\n  ",
        "q2": "Why?\n  ",
        "q3": "What \n",
    }
    assert gold_of(batches(data, "test")) == GOLD
    assert capsys.readouterr().out == (
        "test: 2 of 3 questions were truncated to 5 tokens; "
        "raise --data.max_question_tokens to keep all of their tokens\n"
    )
    batches(module(tmp_path, train=path, max_question_tokens=5), "fit", rank=1, world_size=2)
    batches(module(tmp_path, train=path, max_question_tokens=12), "fit")
    assert capsys.readouterr().out == ""


def test_a_block_too_small_for_a_question_is_refused(tmp_path: Path) -> None:
    path = write_shape(tmp_path / "a", "dicts")
    remedy = r"raise --model\.backbone\.block_size, or lower --data\.stride or --data\.max_question_tokens$"
    for block_size in (4, 17):
        with pytest.raises(
            InputError,
            match=rf"^{re.escape(path)}:1: with a question of 8 tokens, block_size={block_size} leaves "
            rf"{block_size - 9} tokens for the context, not more than --data\.stride=8; {remedy}",
        ):
            batches(module(tmp_path, train=path, block_size=block_size), "fit")
    short = write_rows(
        tmp_path / "short.jsonl", QUESTIONS[2:]
    )  # 14 tokens of question, 7 of context and the end-of-text token
    assert len(batches(module(tmp_path, train=short, block_size=22), "fit")) == 1, "a short context needs no overlap"
    with pytest.raises(InputError, match=r"short\.jsonl:1: with a question of 14 tokens, block_size=21 leaves 6 "):
        batches(module(tmp_path, train=short, block_size=21), "fit")


# --- Batches


def test_training_batches_have_no_texts(tmp_path: Path) -> None:
    path = write_shape(tmp_path / "a", "dicts")
    data = module(tmp_path, train=path, validation=path, test=path)
    tensors = {"input_ids", "attention_mask", "start_positions", "end_positions"}
    tensors |= {"context_mask", "null_positions", "examples"}
    assert all(set(batch) == tensors | {"ids"} for batch in batches(data, "fit"))
    keys = tensors | {"offsets", "ids", "questions", "contexts", "answers"}
    for function in ("validate", "test", "predict"):
        assert all(set(batch) == keys for batch in batches(data, function))


@pytest.mark.parametrize("function", ["fit", "test", "predict"])
def test_padding_has_neither_answer_nor_question(tmp_path: Path, function: str) -> None:
    path = write_shape(tmp_path / "a", "dicts")
    data = module(tmp_path, train=path, test=path, batch_size=1)
    *_, last = batches(data, function, rank=1, world_size=2)
    assert last["input_ids"].tolist() == [[data.tokenizer.end_of_text_id]]
    assert last["start_positions"].tolist() == last["end_positions"].tolist() == [IGNORE_INDEX]
    assert last["context_mask"].tolist() == [[False]]
    assert last["examples"].tolist() == [-1]
    for name in ("ids", "questions", "contexts", "answers"):
        assert last.get(name, []) == []


@pytest.mark.parametrize("shape", ["flat", "nested"])
def test_prediction_needs_no_answers_and_keeps_the_order(tmp_path: Path, shape: str) -> None:
    rows = [{"question": row["question"], "context": row["context"]} for row in QUESTIONS]
    if shape == "nested":
        paragraphs = [{"context": row["context"], "qas": [{"question": row["question"]}]} for row in rows]
        (tmp_path / "a.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
        path = str(tmp_path / "a.json")
    else:
        path = write_rows(tmp_path / "a.jsonl", rows)
    data = module(tmp_path, test=path, block_size=40)
    read = batches(data, "predict")
    assert [question for batch in read for question in batch["questions"]] == [row["question"] for row in QUESTIONS]
    assert [row for batch in read for row in batch["ids"]] == ["0", "1", "2"]
    windows = windows_of(read)
    assert len(windows) > 3
    assert all(window.start == window.end == IGNORE_INDEX for window in windows)
    with pytest.raises(InputError, match=r"there is no column 'answers' with answers"):
        batches(data, "test")


def test_the_tokenizer_is_trained_on_contexts_and_questions(tmp_path: Path) -> None:
    rows = hard_questions()
    train = write_rows(tmp_path / "train.jsonl", rows)
    test = write_shape(tmp_path / "test", "dicts")
    data = module(tmp_path, train=train, test=test, tokenizer="bpe:300")
    attach(data, "fit")
    # Each context is used once, because repeated contexts would outweigh the questions.
    assert data.tokenizer.hash == train_bpe([*HARD_TEXTS, *(row["question"] for row in rows)], 300).hash
    assert data.vocab_size == 300
