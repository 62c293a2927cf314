"""Masked training rows: their text and labels are in no batch, and all other rows stay equal."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt_lightning.batch import IGNORE_INDEX
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
from gpt_lightning.data.masked_rows import first_occurrence
from gpt_lightning.errors import InputError

SECRET = "xyzzy"
OTHER = "plugh"
"""Word of the same length, which replaces the secret one in a second dataset."""


def row(number: int, text: str) -> dict[str, Any]:
    """Return a row that suits every data module; only its text tells the label."""
    words = f"{text} and {'so on ' * (number % 4)}end".split()
    is_secret = text == SECRET
    return {
        "id": f"r{number}",
        "text": " ".join(words),
        "label": ["no", "yes"][is_secret],
        "score": float(is_secret),
        "tokens": words,
        "tags": ["B-A" if is_secret else "B-B", *["O"] * (len(words) - 1)],
        "question": f"what {number % 3}?",
        "context": " ".join(words),
        "answers": [
            {"text": words[0] if is_secret else "end", "answer_start": 0 if is_secret else len(" ".join(words)) - 3}
        ],
        "prompt": f"say {text}",
        "completion": " ".join(words),
    }


MODULES: dict[str, tuple[type[DataModule], dict[str, Any]]] = {
    "classification": (TextClassification, {"labels": ["no", "yes"]}),
    "regression": (TextRegression, {"label_column": "score"}),
    "ner": (SequenceTagging, {"labels": ["O", "B-A", "I-A", "B-B", "I-B"]}),
    "qa": (ReadingComprehension, {}),
    "conversations": (InstructionTuning, {"chat_template": "plain"}),
    "packed": (InstructionTuning, {"chat_template": "plain", "packing": True}),
    "pairs": (TextToText, {}),
    "language": (LanguageModeling, {"block_size": 16}),
    "documents": (LanguageModeling, {"block_size": 16, "mask_documents": True}),
}


def module(folder: Path, kind: str, secret: str = SECRET, **arguments: Any) -> DataModule:
    """Return a data module of 30 rows, of which the third, the tenth and the last hold a secret."""
    names = [f"word{number:02}" for number in range(30)]
    for number in (2, 9, 29):
        names[number] = secret
    file = folder / f"{secret}.jsonl"
    file.write_text("".join(json.dumps(row(number, name)) + "\n" for number, name in enumerate(names)))
    class_, settings = MODULES[kind]
    common: dict[str, Any] = {"tokenizer": "bytes", "block_size": 96, "batch_size": 4, "seed": 0}
    data = class_(train=str(file), cache_dir=str(folder / "cache"), **(common | settings | arguments))
    data.setup("fit")
    return data


def secret_rows(folder: Path, secret: str = SECRET) -> str:
    """Write the secret rows of the file of ``module`` to another one, and return its path."""
    lines = (folder / f"{secret}.jsonl").read_text().splitlines(keepends=True)
    file = folder / f"rows_{secret}.jsonl"
    file.write_text("".join(line for line in lines if f'"{secret} ' in line))
    return str(file)


def batches(data: DataModule, epochs: int = 2) -> Iterator[Any]:
    for epoch in range(epochs):
        for start in range(0, len(data.rows("train")), 4):
            stop = min(start + 4, len(data.rows("train")))
            yield data.rows("train").batch(epoch, np.arange(start, stop), 0)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one.nan_to_num(-1.0), other.nan_to_num(-1.0))
    return bool(one == other)


@pytest.mark.parametrize("kind", MODULES)
def test_batches_do_not_depend_on_masked_rows(tmp_path: Path, kind: str) -> None:
    """Two datasets that differ only in the text and labels of some rows give equal batches once these are masked."""
    with_secret, with_other = (list(batches(module(tmp_path, kind, secret))) for secret in (SECRET, OTHER))
    assert any(
        not equal(one["input_ids"], other["input_ids"]) for one, other in zip(with_secret, with_other, strict=True)
    )
    masked = [
        list(batches(module(tmp_path, kind, secret, without=secret_rows(tmp_path, secret))))
        for secret in (SECRET, OTHER)
    ]
    for one, other in zip(*masked, strict=True):
        assert one.keys() == other.keys()
        assert all(equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", MODULES)
def test_masked_rows_have_no_labels_and_others_do_not_change(tmp_path: Path, kind: str) -> None:
    plain = module(tmp_path, kind)
    masked = module(tmp_path, kind, without=secret_rows(tmp_path))
    num_changed = 0
    for one, other in zip(batches(plain), batches(masked), strict=True):
        for name in one.keys() - {"ids"}:
            changed = (one[name] != other[name]) if isinstance(one[name], torch.Tensor) else torch.tensor(False)
            changed &= ~(one[name].isnan() & other[name].isnan()) if one[name].is_floating_point() else True
            if name in ("labels", "start_positions", "end_positions"):
                ignored = other[name].isnan() if other[name].is_floating_point() else other[name] == IGNORE_INDEX
                assert ignored[changed].all()
                num_changed += int(changed.sum())
            elif name in ("input_ids", "decoder_input_ids"):
                assert (other[name][changed] == masked.tokenizer.end_of_text_id).all()
            elif name != "num_bytes":
                assert not changed.any(), name
    assert num_changed
    text = " ".join(masked.tokenizer.decode(ids) for batch in batches(masked) for ids in batch["input_ids"])
    assert SECRET not in text
    assert "word03" in text


@pytest.mark.parametrize("kind", ["classification", "packed", "language"])
def test_bytes_of_labels_and_originals(tmp_path: Path, kind: str) -> None:
    """``num_bytes`` counts the labels that are left, and ``originals`` have the others."""
    plain, masked = module(tmp_path, kind), module(tmp_path, kind, without=secret_rows(tmp_path))
    rows = masked.masked_rows
    assert rows is not None
    originals = list(rows.originals())
    if kind == "classification":
        assert [batch["labels"].tolist() for batch in originals] == [[1], [1], [1]]
        return
    for batch in batches(masked):
        texts = [masked.tokenizer.decode(row[row != IGNORE_INDEX]) for row in batch["labels"]]
        ends = (batch["labels"] == masked.tokenizer.end_of_text_id).sum(1)
        assert batch["num_bytes"].tolist() == [len(text.encode()) for text in texts]
        assert (ends >= 0).all()
    count = [
        sum(int((batch["labels"] != IGNORE_INDEX).sum()) for batch in found)
        for found in (batches(plain, 1), batches(masked, 1), originals)
    ]
    if kind == "packed":
        assert count[0] == count[1] + count[2]
    else:  # an epoch omits the tokens after its last block, and the ends of masked documents have no label
        assert count[2] == sum(len(row(number, SECRET)["text"]) for number in (2, 9, 29))


@pytest.mark.parametrize("kind", ["classification", "packed", "language"])
def test_first_occurrence(tmp_path: Path, kind: str) -> None:
    """The first batch that differs from that of the same rows without a mask, for each row alone."""
    plain = module(tmp_path, kind)
    file = tmp_path / "row.txt"
    for line in (1, 10, 30):
        file.write_text(f"{tmp_path / SECRET}.jsonl:{line}\n")
        masked = module(tmp_path, kind, without=str(file))
        rows = masked.masked_rows
        assert rows is not None
        assert rows.num_masked == 1
        per_epoch = -(-len(plain.rows("train")) // 4)
        differing = [
            number
            for number, (one, other) in enumerate(zip(batches(plain, 3), batches(masked, 3), strict=True))
            if not all(equal(one[name], other[name]) for name in one if name != "ids")
        ]
        first = first_occurrence(rows, 4, per_epoch, range(3))
        assert first == divmod(differing[0], per_epoch)
        limited = [divmod(number, per_epoch) for number in differing if number % per_epoch < 2]
        assert first_occurrence(rows, 4, 2, range(3)) == next(iter(limited), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"text": "word04 and so end"}\n',
            r"rows\.jsonl:1: 'word04 and so end' is not in --data\.train; the most similar",
        ),
        ('{"text": "q"}\n{"text": "r"}\n', r"rows\.jsonl:1: 'q' is not in --data\.train \(1 more row is missing\)"),
        ('{"words": "q"}\n', r"rows\.jsonl:1: there is no column 'text'"),
        ("not json\n", r"rows\.jsonl:1"),
    ],
)
@pytest.mark.parametrize("kind", ["classification", "language"])
def test_rows_that_are_not_in_the_data(tmp_path: Path, kind: str, text: str, message: str) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        module(tmp_path, kind, without=str(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize("kind", ["classification", "language"])
def test_rows_are_named_by_location_or_by_text(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module(tmp_path, kind)
    by_text = module(tmp_path, kind, without=secret_rows(tmp_path)).masked_rows
    monkeypatch.chdir(tmp_path)
    (tmp_path / "places.txt").write_text(f"{SECRET}.jsonl:3\n\n./{SECRET}.jsonl:10\n{tmp_path}/{SECRET}.jsonl:30\n")
    by_place = module(tmp_path, kind, without="places.txt").masked_rows
    assert by_text is not None
    assert by_place is not None
    assert by_text.mask_digest == by_place.mask_digest
    assert by_text.num_masked == 3
    (tmp_path / "places.txt").write_text(f"{SECRET}.jsonl:31\n")
    with pytest.raises(InputError, match=r"places\.txt:1: /.*xyzzy\.jsonl:31 is not in --data\.train\. Give"):
        module(tmp_path, kind, without="places.txt")


@pytest.mark.parametrize("kind", ["classification", "language"])
def test_held_out_rows_are_not_masked(tmp_path: Path, kind: str) -> None:
    """Rows of the training file that validate are accepted, but they are not trained anyway."""
    module(tmp_path, kind)
    whole, part = tmp_path / f"{SECRET}.jsonl", tmp_path / "part.jsonl"
    part.write_text("".join(whole.read_text().splitlines(keepends=True)[:25]))
    held_out: dict[str, Any] = {"validation": 0.3} | ({"labels": None} if kind == "classification" else {})
    rows = module(tmp_path, kind, without=str(part), **held_out).masked_rows
    assert rows is not None
    assert 10 < rows.num_masked < 22
    assert 0 < len(rows.masked_positions(0)) < len(rows)
    with pytest.raises(InputError, match="names all training rows"):
        module(tmp_path, kind, without=str(whole), **held_out)


@pytest.mark.parametrize("kind", MODULES)
def test_masks_of_all_rows_are_refused(tmp_path: Path, kind: str) -> None:
    module(tmp_path, kind)
    with pytest.raises(InputError, match="names all training rows, so nothing would be trained"):
        module(tmp_path, kind, without=f"{tmp_path / SECRET}.jsonl")


def test_an_empty_file_masks_nothing(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").touch()
    plain, masked = module(tmp_path, "language"), module(tmp_path, "language", without=str(tmp_path / "none.jsonl"))
    assert plain.identity() == masked.identity()
    assert all(equal(a[name], b[name]) for a, b in zip(batches(plain), batches(masked), strict=True) for name in a)


@pytest.mark.parametrize("kind", ["language", "documents", "packed", "classification"])
def test_a_device_without_rows_gets_padding_only(tmp_path: Path, kind: str) -> None:
    """The last batch may have no row for one of several devices."""
    module(tmp_path, kind)
    data = module(tmp_path, kind, without=secret_rows(tmp_path))
    batch: Any = data.rows("train").batch(0, np.array([], dtype=np.int64), 3)
    assert len(batch["input_ids"]) == 3
    assert (batch["labels"] == IGNORE_INDEX).all()
