"""Duplicates, compared with a search over all pairs."""

import itertools
import random

import pytest

from gpt_lightning.data.document_split import normalize_text
from gpt_lightning.evaluation.verdict import overlap
from gpt_lightning.evaluation.verdict.overlap import THRESHOLD, jaccard, near_duplicates, shingles


def test_normalization_ignores_case_whitespace_and_unicode_form() -> None:
    assert normalize_text("  Cafe\u0301\n STRASSE  ") == normalize_text("caf\u00e9 stra\u00dfe")
    assert normalize_text("a, b") != normalize_text("a b")


def sentences(count: int) -> list[str]:
    words = [
        "the",
        "a",
        "cat",
        "dog",
        "bird",
        "sees",
        "likes",
        "old",
        "young",
        "red",
        "blue",
        "house",
        "garden",
        "river",
    ]
    generator = random.Random(0)
    return list(dict.fromkeys(" ".join(generator.choices(words, k=generator.randint(1, 14))) for _ in range(count)))


def test_near_duplicates_are_those_of_all_pairs() -> None:
    """Locality-sensitive hashing may miss a pair, but never invents one."""
    train = sentences(120)
    texts = [f"{text} {ending}" for text, ending in zip(train, itertools.cycle(["x", "again", "in the old street"]))]
    found = near_duplicates(train, texts)
    expected = [max(range(len(train)), key=lambda row: jaccard(shingles(text), shingles(train[row]))) for text in texts]
    similarities = [jaccard(shingles(text), shingles(train[row])) for text, row in zip(texts, expected, strict=True)]
    assert 20 < sum(similarity >= THRESHOLD for similarity in similarities) < 100
    for text, row, similarity in zip(texts, found, similarities, strict=True):
        if row >= 0:
            assert jaccard(shingles(text), shingles(train[row])) == similarity >= THRESHOLD
    missed = sum(row < 0 and similarity >= THRESHOLD for row, similarity in zip(found, similarities, strict=True))
    assert missed <= 1


def test_texts_with_many_similar_ones_are_compared_with_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "_MAX_CANDIDATES", 3)
    train = [f"the very same long sentence in every row, number {number:03}" for number in range(100)]
    assert near_duplicates(train, ["the very same long sentence in every row, number 999"])[0] >= 0


def test_contradictory_labels() -> None:
    assert overlap.contradictions(["a", "b", "a", "a", "b"], [1, 2, 3, 1, 2]) == [[0, 2, 3]]
    assert overlap.contradicted_rows({"a": {1, 2}, "b": {3}}, ["a", "a", "b", "c"], [2, 3, 3, 4]) == [1]
