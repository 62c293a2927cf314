"""``--data.validation 0.1`` and ``--data.validation_fraction``: validation rows out of the training source."""

import pickle
from collections.abc import Sequence
from itertools import count, groupby
from pathlib import Path
from typing import Any

import pytest

from gpt_lightning.data import LanguageModeling, ReadingComprehension, SequenceTagging, TextClassification
from gpt_lightning.data.base import DataModule
from gpt_lightning.data.document_split import normalize_text, text_hash, validation_threshold
from gpt_lightning.data.hold_out import hold_out
from gpt_lightning.data.shards import TokenStream
from gpt_lightning.errors import InputError
from tests.data.drive import attach, batches, write_rows

ROWS: dict[type[DataModule], list[dict[str, Any]]] = {
    TextClassification: [{"text": f"text {number}", "label": f"label {number}"} for number in range(20)],
    SequenceTagging: [{"tokens": ["in", f"City{number}"], "tags": ["O", f"B-{number}"]} for number in range(20)],
    ReadingComprehension: [
        {"context": f"It rains in {number % 5}.", "question": f"Where {number}?", "answers": None}
        for number in range(20)
    ],
}


def make(kind: type[DataModule], folder: Path, rows: Sequence[object] | None = None, **arguments: Any) -> DataModule:
    train = write_rows(folder / "train.jsonl", ROWS[kind] if rows is None else rows)
    settings: dict[str, Any] = {"tokenizer": "bytes", "block_size": 64, "batch_size": 4, "validation_fraction": 0.2}
    return kind(**{"train": train, "cache_dir": str(folder / "cache"), **settings, **arguments})


def ids(module: DataModule, function: str) -> set[str]:
    return {name for batch in batches(module, function) for name in batch["ids"]}


@pytest.mark.parametrize("kind", ROWS)
def test_every_row_is_in_one_split(tmp_path: Path, kind: type[DataModule]) -> None:
    module = make(kind, tmp_path)
    train, validation = ids(module, "fit"), ids(module, "validate")
    assert (len(train), len(validation)) == (16, 4)
    assert not train & validation
    assert ids(make(kind, tmp_path, seed=7), "validate") == validation, "the seed does not change it"
    assert ids(make(kind, tmp_path, ROWS[kind][:], validation_fraction=0.0), "fit") == train | validation


def test_a_context_is_in_one_split(tmp_path: Path) -> None:
    module = make(ReadingComprehension, tmp_path)
    held_out = {context for batch in batches(module, "validate") for context in batch["contexts"]}
    assert len(held_out) == 1
    assert all(int(name) % 5 == int(min(ids(module, "validate"))) % 5 for name in ids(module, "validate"))


@pytest.mark.parametrize("kind", [TextClassification, SequenceTagging])
def test_a_repeated_text_is_in_one_split(tmp_path: Path, kind: type[DataModule]) -> None:
    module = make(kind, tmp_path, ROWS[kind] * 3)
    train, validation = ids(module, "fit"), ids(module, "validate")
    assert (len(train), len(validation)) == (48, 12)
    assert not {int(name) % 20 for name in train} & {int(name) % 20 for name in validation}
    reordered = make(kind, tmp_path, ROWS[kind][::-1])
    assert {19 - int(name) for name in ids(reordered, "validate")} == {int(name) % 20 for name in validation}


@pytest.mark.parametrize("kind", [TextClassification, SequenceTagging])
def test_labels_are_those_of_all_rows(tmp_path: Path, kind: type[DataModule]) -> None:
    module = make(kind, tmp_path)
    batches(module, "fit")
    assert isinstance(module, TextClassification | SequenceTagging)
    assert len(module.labels) == (20 if kind is TextClassification else 41)


def test_of_text_the_last_tokens_are_held_out(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("".join(f"{number:03d} " for number in range(250)))
    module = LanguageModeling(
        train=str(tmp_path / "text.txt"),
        tokenizer="bytes",
        block_size=16,
        cache_dir=str(tmp_path),
        validation_fraction=0.1,
    )
    attach(module, "fit")
    module.prepare_data()
    module.setup("fit")
    train, validation = module.stream("train"), module.stream("validation")
    assert (len(train), len(validation)) == (902, 100)
    assert bytes(validation.slice(0, 20).tolist()).decode() == "25 226 227 228 229 2"
    assert train.checksum != validation.checksum
    copy = pickle.loads(pickle.dumps(validation))  # noqa: S301 (our own bytes: a loader's workers get them)
    assert copy.slice(0, 100).tolist() == validation.slice(0, 100).tolist()
    assert sum(len(batch["ids"]) for batch in module.val_dataloader()) == 7


def test_a_validation_source_wins(tmp_path: Path) -> None:
    other = write_rows(tmp_path / "validation.jsonl", [{"text": "a", "label": "label 3", "id": "other"}])
    module = make(TextClassification, tmp_path, validation=other)
    assert ids(module, "validate") == {"other"}
    assert len(ids(module, "fit")) == 20


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_an_invalid_fraction_is_refused(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(InputError, match=r"--data\.validation_fraction=.* must be in \[0, 1\), such as 0\.1"):
        make(TextClassification, tmp_path, validation_fraction=fraction)


@pytest.mark.parametrize(("kind", "group"), [(TextClassification, "text"), (ReadingComprehension, "context")])
def test_a_single_text_or_context_cannot_be_split(tmp_path: Path, kind: type[DataModule], group: str) -> None:
    module = make(kind, tmp_path, [{**row, group: "It rains."} for row in ROWS[kind][:3]])
    message = (
        rf"--data\.train has only one {group} \('It rains\.'\), so no rows can be held out\. Add rows with another"
    )
    with pytest.raises(InputError, match=message):
        batches(module, "fit")


def test_groups_stay_together_and_neither_side_is_empty() -> None:
    assert len(hold_out(["a", "b"], 0.01)) == 1
    assert len(hold_out(["a", "b"], 0.99)) == 1
    assert hold_out(["a", "a"], 0.5) == set()
    names = [str(number) for number in range(1000)]
    assert len(hold_out(names, 0.1)) == 100
    assert hold_out(reversed(names * 2), 0.1) == hold_out(names, 0.1)


# --- validation=0.1: by a hash of the text


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("part", [0.2, "0.2"])
def test_a_number_holds_out_rows(
    tmp_path: Path, kind: type[DataModule], part: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    module = make(kind, tmp_path, validation=part, validation_fraction=0.0)
    train, validation = ids(module, "fit"), ids(module, "validate")
    assert (len(train), len(validation)) == (16, 4)
    assert not train & validation
    assert ids(make(kind, tmp_path, validation=part, validation_fraction=0.0, seed=7), "validate") == validation
    assert "validation: held out 4 of the 20 training rows (validation=0.2)\n" in capsys.readouterr().out


def test_similar_texts_are_in_one_split(tmp_path: Path) -> None:
    variants = ["Text {}", "text  {} ", "TEXT\n{}", "ｔｅｘｔ\t{}"]
    rows = [{"text": form.format(number), "label": "x"} for number in range(40) for form in variants]
    module = make(TextClassification, tmp_path, rows, validation=0.1, validation_fraction=0.0)
    validation, train = ids(module, "validate"), ids(module, "fit")
    assert len(validation) == 16
    assert not {int(name) // 4 for name in validation} & {int(name) // 4 for name in train}


@pytest.mark.parametrize("part", [0.0, 1.0, "1.5", 3])
def test_an_invalid_part_is_refused(tmp_path: Path, part: Any) -> None:
    with pytest.raises(
        InputError, match=r"--data\.validation=.* must be between 0 and 1, such as 0\.1, or name a source"
    ):
        make(TextClassification, tmp_path, validation=part)


def test_a_file_with_the_name_of_a_number_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "0.5", ROWS[TextClassification])
    assert make(TextClassification, tmp_path, validation="0.5").sources["validation"] == "0.5"


def corpus(folder: Path, documents: Sequence[str], **arguments: Any) -> LanguageModeling:
    settings: dict[str, Any] = {
        "tokenizer": "bytes",
        "block_size": 16,
        "cache_dir": str(folder / "cache"),
        "validation": 0.1,
    }
    module = LanguageModeling(
        train=write_rows(folder / "corpus.jsonl", [{"text": text} for text in documents]), **(settings | arguments)
    )
    attach(module, "fit")
    module.prepare_data()
    module.setup("fit")
    return module


def documents(stream: TokenStream) -> list[str]:
    data = stream.slice(0, len(stream)).tolist()
    return ["".join(map(chr, part)) for end, part in groupby(data, lambda token: token == 256) if not end]


def test_documents_are_held_out_with_their_duplicates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [f"document {number % 50} " for number in range(150)]
    module = corpus(tmp_path, [*texts, "DOCUMENT  7"])
    train, validation = (documents(module.stream(split)) for split in ("train", "validation"))
    assert sorted([*train, *validation]) == sorted([*texts, "DOCUMENT  7"])
    assert len(set(map(normalize_text, validation))) == 5
    assert not set(map(normalize_text, validation)) & set(map(normalize_text, train))
    assert "validation: held out 15 of the 151 training documents, 193 of 1,934 tokens" in capsys.readouterr().out
    again = corpus(tmp_path, [*texts, "DOCUMENT  7"], seed=9)
    assert again.stream("validation").checksum == module.stream("validation").checksum


def test_a_single_document_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = corpus(tmp_path, ["".join(f"{number:03d} " for number in range(250))])
    assert (len(module.stream("train")), len(module.stream("validation"))) == (902, 100)
    assert "held out the last 100 of 1,002 tokens: the text is a single document" in capsys.readouterr().out


def test_the_part_of_many_hashes_needs_no_memory_for_all() -> None:
    hashes = (text_hash(str(number)) for number in count())
    threshold = validation_threshold(hashes, 0.1)
    assert threshold == round(0.1 * 2**64)
    held_out = sum(text_hash(str(number)) < threshold for number in range(10_000))
    assert 900 < held_out < 1100


def test_invalid_documents_are_skipped_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts: list[Any] = [*(f"document {number}" for number in range(20)), None, 7, None]
    for _ in range(2):  # the second time from the cache
        module = corpus(tmp_path, texts, validation=None, on_bad_row="skip")
        assert len(documents(module.stream("train"))) == 20
        assert capsys.readouterr().out == (
            "train: skipped 3 of 23 rows: 2 x column … is null, 1 x column … is of type int, not a string\n"
        )
    with pytest.raises(InputError, match=r"corpus\.jsonl:21: column 'text' is null"):
        corpus(tmp_path, texts, validation=None)


def test_a_separator_that_is_not_set_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "A story.\n<|endoftext|>\n" * 20
    corpus(tmp_path, [text], validation=None)
    assert capsys.readouterr().out == (
        "train: the beginning of the text has '<|endoftext|>' 20 times, as ordinary characters. If it separates "
        "documents, set --data.document_separator='<|endoftext|>'\n"
    )
    module = corpus(tmp_path, [text], validation=None, document_separator="<|endoftext|>")
    assert documents(module.stream("train")) == ["A story.\n"] * 20
    assert capsys.readouterr().out == ""


def test_long_texts_that_start_alike_are_told_apart() -> None:
    """Documents are assigned by their first characters, but rows as a whole: prompts may share a system message."""
    texts = [f"{'system ' * 5000}{number}" for number in range(2)]
    assert text_hash(texts[0]) != text_hash(texts[1])
    assert text_hash(texts[0], 1000) == text_hash(texts[1], 1000)
