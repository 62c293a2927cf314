"""Text classification data: row shapes, invalid rows, batches, padding and prediction."""

import csv
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.data.labels import SavedLabels
from gpt_lightning.data.text_classification import TextClassification
from gpt_lightning.errors import InputError
from gpt_lightning.tokenizers.build import train_bpe
from tests.data.drive import HARD_TEXTS, TOKENIZERS, attach, batches, save_tokenizer, write_rows

TOPICS = [
    ("the ball is in the net", "sport"),
    ("rain and wind all day", "weather"),
    ("a vote", "politics"),
    ("snow", "weather"),
    ("she runs and wins again", "sport"),
]
EXPECTED = {str(number): label for number, (_, label) in enumerate(TOPICS)}
NAMES = ["weather", "sport", "politics"]


def module(folder: Path, **arguments: Any) -> TextClassification:
    defaults: dict[str, Any] = {
        "tokenizer": "bytes",
        "block_size": 32,
        "batch_size": 2,
        "seed": 0,
        "cache_dir": str(folder / "cache"),
    }
    return TextClassification(**(defaults | arguments))


def write_topics(path: Path) -> str:
    return write_rows(path, [{"text": text, "label": label} for text, label in TOPICS])


def write_csv(path: Path, rows: list[dict[str, object]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def labels_of(data: TextClassification, read: list[Any]) -> dict[str, str]:
    """Return the label of each row by its id."""
    return {
        row: data.labels[label]
        for batch in read
        for row, label in zip(batch["ids"], batch["labels"].tolist(), strict=True)
    }


def sets_of(data: TextClassification, read: list[Any]) -> dict[str, set[str]]:
    """Return the set of labels of each row by its id."""
    found = {}
    for batch in read:
        for row, flags in zip(batch["ids"], batch["labels"].tolist(), strict=True):
            assert set(flags) <= {0, 1}
            found[row] = set(itertools.compress(data.labels, flags))
    return found


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@pytest.mark.parametrize("labels", [None, NAMES])
def test_labels_may_be_names(tmp_path: Path, kind: str, labels: list[str] | None) -> None:
    rows: list[dict[str, object]] = [{"text": text, "label": label} for text, label in TOPICS]
    file = tmp_path / f"topics.{kind}"
    path = write_csv(file, rows) if kind == "csv" else write_rows(file, rows)
    data = module(tmp_path, train=path, test=path, labels=labels)
    assert labels_of(data, batches(data, "test")) == EXPECTED
    assert data.labels == (labels or ["politics", "sport", "weather"])


def test_labels_may_be_numbers_of_given_names(tmp_path: Path) -> None:
    rows = [{"text": text, "label": NAMES.index(label)} for text, label in TOPICS]
    (tmp_path / "names.txt").write_text("".join(f"{name}\n" for name in NAMES))
    path = write_rows(tmp_path / "a.jsonl", rows)
    for labels in (NAMES, str(tmp_path / "names.txt")):
        data = module(tmp_path, train=path, test=path, labels=labels)
        read = batches(data, "test")
        assert labels_of(data, read) == EXPECTED
        numbers = {row: number for batch in read for row, number in zip(batch["ids"], batch["labels"], strict=True)}
        assert {row: int(number) for row, number in numbers.items()} == {
            str(number): row["label"] for number, row in enumerate(rows)
        }


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_numbers_without_names_become_names_in_numerical_order(tmp_path: Path, kind: str) -> None:
    rows: list[dict[str, object]] = [{"text": f"text {label}", "label": label} for label in (10, 2, 0, 10)]
    file = tmp_path / f"a.{kind}"
    path = write_csv(file, rows) if kind == "csv" else write_rows(file, rows)
    data = module(tmp_path, train=path, test=path)
    assert data.labels == ["0", "2", "10"]
    assert labels_of(data, batches(data, "test")) == {"0": "10", "1": "2", "2": "0", "3": "10"}


def test_the_order_of_names_is_the_same_in_every_process(tmp_path: Path) -> None:
    # The order of a set of strings differs between processes, and pairs of these names are equal as numbers.
    names = [name for number in range(12) for name in (f"{number:03}", f"{number:02}")]
    path = write_rows(tmp_path / "a.jsonl", [{"text": "a", "label": name} for name in reversed(names)])
    assert module(tmp_path, train=path).labels == sorted(names, key=lambda name: (int(name), name))


SETS = [{"sport", "politics"}, set(), {"weather"}, {"weather", "politics", "sport"}]


@pytest.mark.parametrize(
    ("shape", "labels"),
    [*itertools.product(["lists", "strings", "csv"], [None, NAMES]), ("numbers", NAMES)],  # numbers need names
)
def test_a_text_may_have_several_labels(tmp_path: Path, shape: str, labels: list[str] | None) -> None:
    values: dict[str, list[object]] = {
        "lists": [sorted(each) for each in SETS],
        "strings": ["|".join(sorted(each)) for each in SETS],
        "numbers": [[NAMES.index(name) for name in each] for each in SETS],
    }
    values["csv"] = values["strings"]
    rows: list[dict[str, object]] = [{"text": "a", "label": value} for value in values[shape]]
    path = write_csv(tmp_path / "a.csv", rows) if shape == "csv" else write_rows(tmp_path / "a.jsonl", rows)
    data = module(tmp_path, train=path, test=path, labels=labels, multi_label=True)
    assert sets_of(data, batches(data, "test")) == {str(number): each for number, each in enumerate(SETS)}
    assert data.labels == (labels or sorted(NAMES))


def test_columns_and_ids_can_be_chosen(tmp_path: Path) -> None:
    rows = [{"body": "a", "topic": "x", "key": 7}, {"body": "b", "topic": "y", "key": "k"}]
    path = write_rows(tmp_path / "a.jsonl", rows)
    data = module(tmp_path, train=path, test=path, text_column="body", label_column="topic", id_column="key")
    assert labels_of(data, batches(data, "test")) == {"7": "x", "k": "y"}


# --- Invalid rows

GOOD: list[dict[str, object]] = [{"id": "r0", "text": "a goal", "label": "sport"}, {"text": "snow", "label": "weather"}]
BAD: dict[str, tuple[object, str]] = {
    "unknown label": (
        {"text": "a", "label": "sprot"},
        r"the label 'sprot' is not one of the 2 labels of the model; did you mean 'sport'\?",
    ),
    "unknown number": ({"text": "a", "label": 2}, r"the label 2 is not one of the 2 .*; use one of 'sport', 'weather'"),
    "no label": (
        {"id": "r1", "text": "a"},
        r"there is no column 'label'; the columns are 'id', 'text'; choose one with --data\.label_column=COLUMN",
    ),
    "null label": ({"text": "a", "label": None}, r"column 'label' is null; fix or remove this row"),
    "empty label": (
        {"text": "a", "label": ""},
        r"column 'label' is '', not a label \(a string, a number or a boolean\)",
    ),
    "list": ({"text": "a", "label": ["sport"]}, r"column 'label' is \['sport'\], not a label"),
    "true": ({"text": "a", "label": True}, r"the label True is not one of the 2 .*; use one of 'sport', 'weather'"),
    "no text": (
        {"label": "sport"},
        r"there is no column 'text'; the columns are 'label'; choose one with --data\.text_column=COLUMN",
    ),
    "null text": ({"text": None, "label": "sport"}, r"column 'text' is null"),
    "empty text": ({"text": "", "label": "sport"}, r"column 'text' is empty"),
    "blank text": ({"text": " \r\n\u00a0", "label": "sport"}, r"column 'text' is empty"),
    "number": ({"text": 7, "label": "sport"}, r"column 'text' is of type int, not a string"),
    "same id": (
        {"id": "r0", "text": "a", "label": "sport"},
        r"the id 'r0' is already used by .*/test\.jsonl:1; give each row a unique id",
    ),
    "id of another type": (
        {"id": [1], "text": "a", "label": "sport"},
        r"column 'id' is \[1\], not an id \(a string or a whole number\); .*--data\.id_column=COLUMN",
    ),
}


@pytest.mark.parametrize(("row", "message"), BAD.values(), ids=BAD.keys())
def test_an_invalid_row_stops_or_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: object, message: str
) -> None:
    train = write_rows(tmp_path / "train.jsonl", GOOD)
    test = write_rows(tmp_path / "test.jsonl", [GOOD[0], row, GOOD[1]])
    remedy = r".* \(--data\.on_bad_row=skip skips invalid rows\)$"
    with pytest.raises(InputError, match=f"^{re.escape(test)}:2: {message}{remedy}"):
        batches(module(tmp_path, train=train, test=test), "test")
    assert capsys.readouterr().out == ""

    data = module(tmp_path, train=train, test=test, on_bad_row="skip")
    assert labels_of(data, batches(data, "test")) == {"r0": "sport", "2": "weather"}
    out = capsys.readouterr().out
    assert re.match(r"test: skipped 1 of 3 rows: 1 x .*\n$", out), "reported once, although the split is opened twice"
    assert "test.jsonl:2" not in out


BAD_LISTS: dict[str, tuple[object, str]] = {
    "unknown": (["sport", "x"], r"the label 'x' is not one of the 2"),
    "unknown in a string": ("sport|x", r"the label 'x' is not one of the 2"),
    "empty": ("sport||weather", r"column 'label' is '', not a label"),
    "number": (7, r"column 'label' is 7, not a list of labels"),
    "null": (None, r"column 'label' is null"),
    "null inside": ([None], r"column 'label' is None, not a label"),
}


@pytest.mark.parametrize(("label", "message"), BAD_LISTS.values(), ids=BAD_LISTS.keys())
def test_invalid_lists_of_labels_are_refused(tmp_path: Path, label: object, message: str) -> None:
    train = write_rows(tmp_path / "train.jsonl", GOOD)
    test = write_rows(tmp_path / "test.jsonl", [GOOD[0], {"text": "a", "label": label}])
    with pytest.raises(InputError, match=f"^{re.escape(test)}:2: {message}"):
        batches(module(tmp_path, train=train, test=test, multi_label=True), "test")


@pytest.mark.parametrize("folder", ["plain", "with spaces in it"])
def test_skipped_rows_are_counted_by_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str) -> None:
    (tmp_path / folder).mkdir()
    rows = [
        {"text": "a", "label": "sprot"},
        {"text": None, "label": "sport"},
        {"text": "b", "label": "wether"},
        {"text": "a", "label": "sport"},
        {"text": "b", "label": "spor"},
    ]
    train = write_rows(tmp_path / "train.jsonl", GOOD)
    test = write_rows(tmp_path / folder / "test.jsonl", rows)
    data = module(tmp_path, train=train, test=test, on_bad_row="skip")
    assert labels_of(data, batches(data, "test")) == {"3": "sport"}, "the id is the number of the row in the file"
    assert capsys.readouterr().out == (
        "test: skipped 4 of 5 rows: 3 x the label … is not one of the … labels of the model, 1 x column … is null\n"
    )


def test_only_rank_0_reports_skipped_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rows(tmp_path / "a.jsonl", [*GOOD, {"text": ""}])
    batches(module(tmp_path, train=path, on_bad_row="skip"), "fit", rank=1, world_size=2)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("function", "split"), [("fit", "train"), ("validate", "validation"), ("test", "test")])
def test_a_split_without_valid_rows_is_refused(tmp_path: Path, function: str, split: str) -> None:
    paths = {"train": write_rows(tmp_path / "train.jsonl", GOOD)}
    paths[split] = write_rows(tmp_path / "bad.jsonl", [{"text": "", "label": "sport"}])
    with pytest.raises(InputError, match=rf"^--data\.{split}: no row is valid; fix the file"):
        batches(module(tmp_path, **paths, on_bad_row="skip"), function)


def test_the_label_of_a_skipped_row_is_not_collected(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [*GOOD, {"text": "", "label": "politics"}])
    data = module(tmp_path, train=path, on_bad_row="skip")
    assert sum(len(batch["labels"]) for batch in batches(data, "fit")) == 2
    assert data.labels == ["sport", "weather"]


def test_training_refuses_labels_without_a_given_name(tmp_path: Path) -> None:
    path = write_topics(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match=rf"^{re.escape(path)}:3: the label 'politics' is not one of the 2"):
        batches(module(tmp_path, train=path, labels=["sport", "weather"]), "fit")


def test_a_missing_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^there is no test data; set it with --data\.test=FILE$"):
        batches(module(tmp_path, train=write_topics(tmp_path / "a.jsonl")), "test")


# --- Batches


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_batches_contain_the_texts(tmp_path: Path, kind: str) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"text": text, "label": "x"} for text in HARD_TEXTS])
    data = module(tmp_path, train=path, test=path, tokenizer=save_tokenizer(tmp_path, kind), block_size=512)
    seen = {}
    for batch in batches(data, "test"):
        lengths = batch["attention_mask"].sum(1)
        assert batch["attention_mask"].shape == batch["input_ids"].shape == (len(batch["ids"]), lengths.max())
        for row, tokens, mask in zip(batch["ids"], batch["input_ids"], batch["attention_mask"], strict=True):
            assert tokens[0] == data.tokenizer.end_of_text_id
            assert mask.tolist() == sorted(mask.tolist(), reverse=True), "padding is on the right"
            seen[int(row)] = data.tokenizer.decode(tokens[mask].tolist())
            assert (tokens[~mask] == data.tokenizer.end_of_text_id).all()
        assert [seen[int(row)] for row in batch["ids"]] == batch["texts"]
    assert [seen[number] for number in range(len(HARD_TEXTS))] == HARD_TEXTS


def test_truncation_is_reported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_topics(tmp_path / "a.jsonl")
    data = module(tmp_path, train=path, validation=path, block_size=22)
    read = batches(data, "fit")
    list(data.val_dataloader())
    remedy = "raise --model.backbone.block_size to keep all of their tokens"
    assert capsys.readouterr().out == "".join(
        f"{split}: 2 of 5 texts were truncated to 21 tokens (the longest has 23); {remedy}\n"
        for split in ("train", "validation")
    )
    lengths = [length for batch in read for length in batch["attention_mask"].sum(1).tolist()]
    assert sorted(lengths) == sorted(min(1 + len(text), 22) for text, _ in TOPICS)
    batches(data, "fit")
    assert capsys.readouterr().out == ""
    batches(module(tmp_path, train=path, block_size=24), "fit")
    assert capsys.readouterr().out == "", "a text that just fits is not truncated"
    batches(module(tmp_path, train=path, block_size=22), "fit", rank=1, world_size=2)
    assert capsys.readouterr().out == "", "only rank 0 reports"


def test_training_batches_have_no_texts(tmp_path: Path) -> None:
    path = write_topics(tmp_path / "a.jsonl")
    data = module(tmp_path, train=path, validation=path, test=path)
    for batch in batches(data, "fit"):
        assert set(batch) == {"input_ids", "attention_mask", "labels", "ids"}
    keys = {"input_ids", "attention_mask", "labels", "ids", "texts"}
    assert all(set(batch) == keys for batch in data.val_dataloader())
    for function in ("validate", "test", "predict"):
        assert all(set(batch) == keys for batch in batches(data, function))


def test_training_shuffles_all_rows_and_resumes_anywhere(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"text": "a" * (1 + n % 9), "label": str(n)} for n in range(20)])
    data = module(tmp_path, train=path, batch_size=3)
    epochs = [[batch["labels"].tolist() for batch in batches(data, "fit", position=(epoch, 0))] for epoch in range(3)]
    for epoch, read in enumerate(epochs):
        assert sorted(itertools.chain(*read)) == list(range(20))
        for index in range(len(read) + 1):
            resumed = [batch["labels"].tolist() for batch in batches(data, "fit", position=(epoch, index))]
            assert resumed == read[index:]
    assert epochs[0] != epochs[1] != epochs[2]
    for rank in (0, 1):
        shares = batches(module(tmp_path, train=path, batch_size=1), "fit", rank=rank, world_size=2)
        single = batches(module(tmp_path, train=path, batch_size=2), "fit")
        assert [share["labels"].tolist() for share in shares] == [
            batch["labels"][rank : rank + 1].tolist() for batch in single
        ]


def test_evaluation_starts_with_the_longest_texts(tmp_path: Path) -> None:
    path = write_topics(tmp_path / "a.jsonl")
    data = module(tmp_path, train=path, test=path)
    lengths = [len(text) for batch in batches(data, "test") for text in batch["texts"]]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("function", ["fit", "test", "predict"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_padding_has_neither_label_nor_id(tmp_path: Path, function: str, multi_label: bool) -> None:
    path = write_topics(tmp_path / "a.jsonl")
    data = module(tmp_path, train=path, test=path, batch_size=1, multi_label=multi_label)
    *_, last = batches(data, function, rank=1, world_size=2)  # rank 0 has the fifth row
    assert last["labels"].tolist() == ([[IGNORE_INDEX] * 3] if multi_label else [IGNORE_INDEX])
    assert last["input_ids"].tolist() == [[data.tokenizer.end_of_text_id]]
    assert last["attention_mask"].tolist() == [[True]]
    assert last.get("ids", []) == last.get("texts", []) == []
    assert len(batches(data, function, rank=0, world_size=2)) == 3


@pytest.mark.parametrize("multi_label", [False, True])
def test_prediction_needs_no_labels_and_keeps_the_order(tmp_path: Path, multi_label: bool) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"text": text} for text, _ in TOPICS])
    data = module(tmp_path, test=path, labels=NAMES, multi_label=multi_label)
    read = batches(data, "predict")
    assert [text for batch in read for text in batch["texts"]] == [text for text, _ in TOPICS]
    assert [row for batch in read for row in batch["ids"]] == ["0", "1", "2", "3", "4"]
    for batch in read:
        assert batch["labels"].shape == ((len(batch["ids"]), 3) if multi_label else (len(batch["ids"]),))
        assert (batch["labels"] == IGNORE_INDEX).all()
    with pytest.raises(InputError, match=r":1: there is no column 'label'"):
        batches(data, "test")  # evaluation needs them, also with the same module


def test_prediction_ignores_labels(tmp_path: Path) -> None:
    train = write_topics(tmp_path / "train.jsonl")
    test = write_rows(tmp_path / "test.jsonl", [{"text": "a", "label": "new"}, {"text": "b", "label": None}])
    (batch,) = batches(module(tmp_path, train=train, test=test), "predict")
    assert batch["labels"].tolist() == [IGNORE_INDEX] * 2


def test_the_tokenizer_is_trained_on_the_training_texts(tmp_path: Path) -> None:
    texts = [f"{text} {text}" for text in HARD_TEXTS]
    train = write_rows(tmp_path / "train.jsonl", [{"body": text, "text": "no", "label": "x"} for text in texts])
    test = write_rows(tmp_path / "test.jsonl", [{"body": "another thing" * 9, "label": "x"}])
    data = module(tmp_path, train=train, test=test, text_column="body", tokenizer="bpe:300")
    attach(data, "fit")
    assert data.tokenizer.hash == train_bpe(texts, 300).hash
    assert data.vocab_size == 300


# --- Spellings and shapes of labels


@pytest.mark.parametrize("kind", ["jsonl", "csv", "json"])
def test_booleans_and_whole_floats_have_the_same_names_in_every_format(tmp_path: Path, kind: str) -> None:
    for values, names in (([True, False], ["false", "true"]), ([1.0, 2.0, 1.5], ["1", "1.5", "2"])):
        rows: list[dict[str, object]] = [{"text": f"text {value}", "label": value} for value in values]
        file = tmp_path / f"a.{kind}"
        path = write_csv(file, rows) if kind == "csv" else write_rows(file, rows)
        if kind == "json":
            file.write_text(json.dumps(rows))
        data = module(tmp_path, train=path, test=path)
        assert data.labels == names
        expected = {str(number): str(value).lower().removesuffix(".0") for number, value in enumerate(values)}
        assert labels_of(data, batches(data, "test")) == expected


def test_labels_that_differ_in_whitespace_are_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\ngood,pos\nfine, pos\nbad,neg\npoor,neg \n")
    data = module(tmp_path, train=str(tmp_path / "a.csv"), test=str(tmp_path / "a.csv"))
    assert labels_of(data, batches(data, "test")) == {"0": "pos", "1": "pos", "2": "neg", "3": "neg"}
    assert data.labels == ["neg", "pos"]


def test_floats_in_training_rows_are_the_integers_of_other_rows(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,1.0\nb,2.0\nc,3.0\n")
    (tmp_path / "test.csv").write_text("text,label\nd,1\ne,3\n")
    data = module(tmp_path, train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"))
    assert labels_of(data, batches(data, "test")) == {"0": "1", "1": "3"}


def test_numbers_are_no_places_in_the_sorted_names_of_training_rows(tmp_path: Path) -> None:
    train = write_topics(tmp_path / "train.jsonl")
    test = write_rows(tmp_path / "test.jsonl", [{"text": "a", "label": 0}])
    saved = SavedLabels(["politics", "sport", "weather"])
    for known in (None, saved.to_json()):
        data = module(tmp_path, train=train, test=test, model_labels=known)
        with pytest.raises(InputError, match=r"test\.jsonl:1: the label 0 is not one of .*set --data\.labels to their"):
            batches(data, "test")
    data = module(tmp_path, test=test, labels=NAMES, model_labels=saved.to_json())
    assert labels_of(data, batches(data, "test")) == {"0": "weather"}
    assert data.labels == saved.names
    data = module(tmp_path, test=test, model_labels=SavedLabels(saved.names, are_numbered=True).to_json())
    assert labels_of(data, batches(data, "test")) == {"0": "politics"}


@pytest.mark.parametrize("text", ["", "[]", '{"names": []}', '{"names": [1]}', '{"names": "ab"}', '{"other": ["a"]}'])
def test_saved_labels_are_checked(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"^--data\.model_labels cannot be read"):
        module(tmp_path, model_labels=text)


VECTORS = [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("shape", ["lists", "floats", "csv", "columns", "columns csv"])
def test_zeros_and_ones_mark_the_labels_of_a_text(tmp_path: Path, shape: str) -> None:
    names = {"labels": NAMES} if "columns" not in shape else {"label_columns": NAMES}
    rows: list[dict[str, object]] = [
        {"text": f"text {number}", "label": [float(each) for each in vector] if shape == "floats" else vector}
        | dict(zip(NAMES, vector, strict=True))
        for number, vector in enumerate(VECTORS)
    ]
    path = write_csv(tmp_path / "a.csv", rows) if "csv" in shape else write_rows(tmp_path / "a.jsonl", rows)
    data = module(tmp_path, train=path, test=path, multi_label=True, **names)
    assert [batch["labels"].tolist() for batch in batches(data, "test")] == [VECTORS[:2], VECTORS[2:]]
    assert data.labels == NAMES


@pytest.mark.parametrize("vectors", [[[0, 1], [1, 0]], [[1, 1], [0, 1]]])
def test_vectors_without_names_are_refused(tmp_path: Path, vectors: list[list[int]]) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"text": "a", "label": vector} for vector in vectors])
    with pytest.raises(InputError, match=r"a\.jsonl:1: .*--data\.labels=\[a,b,c\]"):
        _ = module(tmp_path, train=path, multi_label=True).labels


def test_one_of_several_columns_is_the_label_of_a_text(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": "a", "x": 1, "y": 0}, {"text": "b", "x": 0.0, "y": True}]
    path = write_rows(tmp_path / "a.jsonl", rows)
    data = module(tmp_path, train=path, test=path, label_columns=["x", "y"])
    assert labels_of(data, batches(data, "test")) == {"0": "x", "1": "y"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"x": 1, "y": 1}, r"2 of the columns 'x', 'y' are 1, but a text has one label\..*multi_label=true"),
        ({"x": 2, "y": 1}, r"column 'x' is 2, not 0 or 1"),
        ({"x": 1}, r"there is no column 'y'.*--data\.label_columns"),
    ],
)
def test_an_invalid_row_of_columns_is_refused(tmp_path: Path, row: dict[str, object], message: str) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"text": "a"} | row])
    with pytest.raises(InputError, match=rf"a\.jsonl:1: {message}"):
        batches(module(tmp_path, train=path, label_columns=["x", "y"]), "fit")
    with pytest.raises(InputError, match=r"--data\.labels and --data\.label_columns both name the labels"):
        module(tmp_path, label_columns=["x", "y"], labels=["x", "y"])
