"""Statistics and findings, compared with counts over the rows of the files."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from gpt_lightning.data import (
    InstructionTuning,
    LanguageModeling,
    ReadingComprehension,
    SequenceTagging,
    TextClassification,
    TextRegression,
    TextToText,
)
from gpt_lightning.data.base import DataModule
from gpt_lightning.evaluation.inspection.findings import Finding, findings
from gpt_lightning.evaluation.inspection.inspection import Inspection, inspect_data
from gpt_lightning.evaluation.inspection.inspection_page import write_inspection
from tests.data.drive import save_tokenizer, write_rows
from tests.heads import TAGS

TEXTS: list[dict[str, str]] = [{"text": f"number {number} is here", "label": "ab"[number % 2]} for number in range(12)]


def inspect_rows(folder: Path, module: type[Any], train: Iterable[object], **settings: Any) -> Inspection:
    """Inspect rows with a tokenizer of bytes, unless another one is given."""
    for split in ("validation", "test"):
        if split in settings:
            settings[split] = write_rows(folder / f"{split}.jsonl", settings[split])
    defaults = {"tokenizer": "bytes", "block_size": 64, "batch_size": 4, "cache_dir": str(folder / "cache")}
    data: DataModule = module(train=write_rows(folder / "train.jsonl", train), **defaults | settings)
    return inspect_data(data)


def problems(inspection: Inspection) -> list[Finding]:
    return [each for each in findings(inspection) if each.is_problem]


def only_problem(inspection: Inspection) -> str:
    (problem,) = problems(inspection)
    assert problem.line.startswith("problem: ")
    assert "\n" not in problem.line
    assert problem.remedy or ";" in problem.what, "it says what to do"
    return problem.line


def test_counts_of_classes_are_those_of_the_file(tmp_path: Path) -> None:
    others = [{"text": f"one more, number {number}", "label": "b"} for number in range(5)]
    rows = [*TEXTS, {"text": "çé 😀", "label": "b"}]
    inspection = inspect_rows(tmp_path, TextClassification, rows, test=others)
    found = inspection.splits["train"].statistics
    lengths = [len(row["text"].encode()) + 1 for row in rows]
    assert found.label_counts == Counter(row["label"] for row in rows)
    assert sorted(found.lengths) == sorted(lengths)
    assert (found.num_rows, found.num_tokens, found.num_targets) == (13, sum(lengths), 13)
    words = sum(len(row["text"].split()) for row in rows)
    assert found.tokens_per_word == pytest.approx(sum(lengths) / words)
    assert inspection.splits["test"].statistics.num_rows == 5
    assert findings(inspection) == []


def test_counts_of_tags_are_those_of_the_file(tmp_path: Path) -> None:
    rows = [{"tokens": words * number, "tags": tags * number} for words, tags in TAGS for number in range(1, 5)]
    found = inspect_rows(tmp_path, SequenceTagging, rows).splits["train"].statistics
    assert found.num_rows > len(rows), "long texts are several windows"
    assert found.label_counts == Counter(tag for row in rows for tag in row["tags"])


def test_padding_is_that_of_the_batches(tmp_path: Path) -> None:
    rows = [{"text": "x" * length, "label": "ab"[length % 2]} for length in (3, 5, 9, 9)]
    found = inspect_rows(tmp_path, TextClassification, rows).splits["train"].statistics
    assert found.padding_share == pytest.approx(1 - (4 + 6 + 10 + 10) / (4 * 10))


def test_documents_of_packed_text(tmp_path: Path) -> None:
    texts = ["first text", "a second, longer text", "first text", "the end"] * 3
    inspection = inspect_rows(
        tmp_path,
        LanguageModeling,
        [{"text": text} for text in texts],
        validation=[{"text": "first text"}],
        block_size=8,
    )
    found = inspection.splits["train"].statistics
    assert Counter(found.lengths) == Counter(len(text) for text in texts)
    assert len(found.repeats) == len(texts) - 3
    assert found.trained_share == 1.0
    assert "every row is also in train" in only_problem(inspection)


def test_only_answers_of_conversations_are_trained(tmp_path: Path) -> None:
    rows = [{"prompt": f"say {number}", "completion": f"{number}!"} for number in range(6)]
    found = inspect_rows(tmp_path, InstructionTuning, rows, chat_template="plain").splits["train"].statistics
    assert found.num_targets == sum(len(row["completion"]) + 1 for row in rows), "each answer and its end"


def test_equal_targets_are_no_repeated_pairs(tmp_path: Path) -> None:
    rows = [{"prompt": f"is {number} even?", "completion": "no" if number % 2 else "yes"} for number in range(8)]
    inspection = inspect_rows(tmp_path, TextToText, rows[:6], validation=rows[6:])
    assert findings(inspection) == []


def test_a_label_that_is_never_trained(tmp_path: Path) -> None:
    others = [{"text": "one more", "label": "c"}, {"text": "and more", "label": "a"}]
    inferred = inspect_rows(tmp_path, TextClassification, TEXTS, validation=others)
    assert "validation.jsonl:1: invalid row: the label 'c' is not one of the 2 labels" in only_problem(inferred)
    assert [row.labels for row in inferred.splits["validation"].rows] == [("a",)], "valid rows are still read"
    named = inspect_rows(tmp_path, TextClassification, TEXTS, validation=others, labels=["a", "b", "c", "d"])
    assert "validation.jsonl:1: the label 'c' occurs 1 time here, but never in train" in only_problem(named)
    assert any("no row has the label 'd'" in each.line for each in findings(named))


def test_a_type_of_entities_that_is_never_trained(tmp_path: Path) -> None:
    train = [{"tokens": ["Anna", "Berg", "sleeps"], "tags": ["B-PER", "O", "O"]}]
    others = [{"tokens": ["Ida", "Lund", "in", "Rome"], "tags": ["B-PER", "I-PER", "O", "B-LOC"]}]
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    found = inspect_rows(tmp_path, SequenceTagging, train, validation=others, labels=labels)
    assert "the label 'B-LOC' occurs 1 time" in only_problem(found), "I-PER is of a type that is trained"


@pytest.mark.parametrize(
    ("module", "rows", "message"),
    [
        (TextClassification, [{"text": text, "label": "a"} for text in "xyz"], "all 3 rows have the same label: 'a'"),
        (TextRegression, [{"text": text, "label": 2.5} for text in "xyz"], "all 3 rows have the same label: '2.5'"),
        (SequenceTagging, [{"tokens": ["x", "y"], "tags": ["O", "O"]}], "all 2 labeled words have the tag 'O'"),
        (
            ReadingComprehension,
            [{"question": "who?", "context": "nobody", "answers": []}],
            "no question has an answer",
        ),
    ],
)
def test_nothing_can_be_learned_from_equal_labels(
    module: type[Any], rows: list[object], message: str, tmp_path: Path
) -> None:
    assert message in only_problem(inspect_rows(tmp_path, module, rows))


def test_rows_without_a_trained_token(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes", "train": False}]
    line = only_problem(inspect_rows(tmp_path, InstructionTuning, [{"messages": messages}]))
    assert "train.jsonl:1: invalid row: no label, because its answers have train: false" in line


def test_every_row_is_cut(tmp_path: Path) -> None:
    inspection = inspect_rows(tmp_path, TextClassification, TEXTS, block_size=11)
    cut = inspection.splits["train"].cut_rows
    assert [each.num_cut for each in cut] == [len(row["text"]) - 10 for row in TEXTS]
    assert f"every row will be cut and lose {sum(each.num_cut for each in cut)} tokens" in only_problem(inspection)
    some = inspect_rows(tmp_path, TextClassification, TEXTS, block_size=17)
    assert not problems(some)
    assert any("2 of 12 rows will be cut" in each.line for each in findings(some))


def test_turns_that_conversations_lose_are_counted(tmp_path: Path) -> None:
    turn = [{"role": "user", "content": "x" * 30}, {"role": "assistant", "content": "y" * 10}]
    inspection = inspect_rows(
        tmp_path, InstructionTuning, [{"messages": turn * 3}], chat_template="plain", block_size=100
    )
    (cut,) = inspection.splits["train"].cut_rows
    assert (cut.num_tokens, cut.num_cut) == (1 + 3 * 42, 42), "a turn: prompt, line end, answer and its end"


def test_long_questions_are_cut(tmp_path: Path) -> None:
    answers = [{"text": "Bob", "answer_start": 0}]
    rows = [{"question": f"who{letter}?", "context": "Bob slept.", "answers": answers} for letter in ("", "s" * 9)]
    (note,) = findings(inspect_rows(tmp_path, ReadingComprehension, rows, max_question_tokens=10))
    assert "train.jsonl:2: 1 of 2 rows will be cut and lose 3 tokens; this one loses 3 of 13" in note.line
    assert "Raise --data.max_question_tokens" in note.line


def test_answers_that_no_window_holds(tmp_path: Path) -> None:
    context = "Anna met the very old and wise king of the land in May. " * 3
    answer = {"text": context[9:63], "answer_start": 9}
    rows = [
        {"question": "who?", "context": context, "answers": [answer]},
        {"question": "who?", "context": "Bob slept.", "answers": [{"text": "Bob", "answer_start": 0}]},
    ]
    line = only_problem(inspect_rows(tmp_path, ReadingComprehension, rows, block_size=40, stride=4))
    assert "train.jsonl:1: 1 of 2 answers are in no window" in line


def test_answers_inside_of_tokens(tmp_path: Path) -> None:
    """A tokenizer of whole words cannot mark a part of a word."""
    tokenizer = save_tokenizer(tmp_path, "bpe")
    contexts = [("the end of the end", "nd", 5), ("the end of the end", "end", 4)]
    rows = [
        {"question": "what?", "context": text, "answers": [{"text": answer, "answer_start": start}]}
        for text, answer, start in contexts
    ]
    one = inspect_rows(tmp_path, ReadingComprehension, rows[:1], tokenizer=tokenizer)
    assert "1 of 1 answers differ from the text of their tokens: 'nd' became 'end'" in only_problem(one)
    assert not findings(inspect_rows(tmp_path, ReadingComprehension, rows[1:], tokenizer=tokenizer))


def test_repeated_and_contradictory_rows(tmp_path: Path) -> None:
    rows = [*TEXTS, TEXTS[0], {**TEXTS[1], "label": "a"}]
    found = inspect_rows(tmp_path, TextClassification, rows, validation=TEXTS[:3])
    statistics = found.splits["train"].statistics
    assert (len(statistics.repeats), len(statistics.contradictions)) == (2, 1)
    assert "validation.jsonl:1: every row is also in train" in only_problem(found)
    partly = inspect_rows(tmp_path, TextClassification, TEXTS[2:], validation=TEXTS[:3])
    assert not problems(partly)
    assert "1 of 3 distinct rows are also in train" in findings(partly)[0].line


def test_rows_that_the_user_skips_are_no_problem(tmp_path: Path) -> None:
    rows = [*TEXTS, {"text": "", "label": "a"}, {"text": "", "label": "b"}]
    (note,) = findings(inspect_rows(tmp_path, TextClassification, rows, on_bad_row="skip"))
    assert "train.jsonl:13: invalid row (and 1 more row like it): column 'text' is empty" in note.line
    assert not note.is_problem
    assert problems(inspect_rows(tmp_path, TextClassification, rows))


def test_unknown_tokens_are_noted(tmp_path: Path) -> None:
    others = [{"text": "números ñandú", "label": "a"}]
    found = inspect_rows(tmp_path, TextClassification, TEXTS, test=others, tokenizer="characters")
    statistics = found.splits["test"].statistics
    known = {letter for row in TEXTS for letter in row["text"]}
    assert statistics.num_unknown == sum(letter not in known for letter in "números ñandú") > 0
    assert any("of the tokens are unknown" in each.line for each in findings(found))


def test_hostile_texts_are_escaped_on_the_page(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    rows = [{"text": f"{hostile}{number}", "label": hostile + "ab"[number % 2]} for number in range(4)]
    data = TextClassification(
        train=write_rows(tmp_path / "train.jsonl", rows), tokenizer="bytes", cache_dir=str(tmp_path / "cache")
    )
    inspection = inspect_data(data)
    file = tmp_path / "page.html"
    write_inspection(file, inspection, findings(inspection), data.tokenizer, overwrite=False, remedy="")
    page = file.read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
