"""``--data.validation_fraction``: validation rows out of the training source."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gpt_lightning.data import LanguageModeling, ReadingComprehension, SequenceTagging, TextClassification
from gpt_lightning.data.base import DataModule
from gpt_lightning.data.hold_out import hold_out
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
