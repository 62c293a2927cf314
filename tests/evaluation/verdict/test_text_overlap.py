"""Passages of a text that occur in another, compared with Python's search for substrings."""

import random

import numpy as np
import pytest

from gpt_lightning.data.document_split import normalize_text
from gpt_lightning.evaluation.verdict import text_overlap as module
from gpt_lightning.evaluation.verdict.text_overlap import LENGTH, TextOverlap, passage_hashes, text_overlap


def text(length: int, seed: int) -> str:
    return "".join(random.Random(seed).choices("abc d\u00e9", k=length))


def test_passages_are_found_at_every_position() -> None:
    train = [text(2000, 1), text(900, 2)]
    copied = normalize_text(train[0])[137:437]
    tested = [copied, text(500, 3), normalize_text(train[1])[3:160].upper()]
    found = text_overlap(train, tested)
    passages = [
        piece[start : start + LENGTH]
        for piece in map(normalize_text, tested)
        for start in range(0, len(piece) - LENGTH + 1, LENGTH)
    ]
    expected = sum(any(passage in normalize_text(piece) for piece in train) for passage in passages)
    assert found == TextOverlap(len(passages), expected, is_complete=True)
    assert 8 <= expected < len(passages)


def test_hashes_depend_on_the_passage_only() -> None:
    hashes = passage_hashes(text(300, 4) + text(120, 5) + text(80, 6) + text(120, 5))
    assert len(hashes) == 620 - LENGTH + 1
    assert np.array_equal(hashes[300 : 300 + 71], hashes[500 : 500 + 71])
    assert len(np.unique(hashes)) == len(hashes) - 71
    assert len(passage_hashes("short")) == 0


def test_long_texts_are_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TRAIN_CHARACTERS", 100)
    assert not text_overlap([text(200, 1), text(200, 2)], [text(100, 3)]).is_complete
    assert text_overlap([text(200, 1)], [text(100, 3)]).is_complete
    monkeypatch.setattr(module, "MAX_PASSAGES", 3)
    found = text_overlap([text(200, 1)], [text(500, 3)])
    assert (found.num_passages, found.is_complete) == (3, False)
    assert text_overlap([], []) == TextOverlap(0, 0, is_complete=True)
