"""Arrangement of texts in rows and batches: complete, without duplicates, and at lower cost."""

import random

import pytest

from gpt_lightning.evaluation.lm_eval.batching import MIN_FAST_TOKENS, MIN_LENGTH_RATIO, Row, batches, shared_rows


def read(row: Row, number: int) -> list[int]:
    return [row.tokens[index] for index in row.indices[number]]


@pytest.mark.parametrize("width", [1, 8, 64, 4096])
@pytest.mark.parametrize("max_tokens", [1, 20, 500])
def test_every_text_can_be_read_from_its_row(width: int, max_tokens: int) -> None:
    draw = random.Random(width)
    texts = [[draw.randrange(2) for _ in range(draw.randrange(1, 12))] for _ in range(80)]
    rows = shared_rows(texts, width, max_tokens)
    assert sorted(number for row in rows for number in row.indices) == list(range(80))
    for row in rows:
        assert len(row.tokens) == len(row.positions) <= max(max_tokens, 11)
        for number, indices in row.indices.items():
            assert read(row, number) == texts[number]
            assert [row.positions[index] for index in indices] == list(range(len(texts[number])))
            assert indices == sorted(indices)
            # No later token of the same position lies between a token and the end of its text.
            for depth, index in enumerate(indices[:-1]):
                later_positions = row.positions[index + 1 : indices[-1] + 1]
                assert depth not in later_positions


def test_wider_models_share_more_tokens() -> None:
    draw = random.Random(0)
    texts = [[7, *(draw.randrange(9) for _ in range(10))] for _ in range(200)]
    sizes = [sum(len(row.tokens) for row in shared_rows(texts, width, 10_000)) for width in (1, 64, 4096)]
    assert sum(map(len, texts)) >= sizes[0] > sizes[1] > sizes[2]


def test_identical_texts_are_computed_once() -> None:
    (row,) = shared_rows([[1, 2, 3]] * 4, 16, 3)
    assert row.tokens == [1, 2, 3]
    assert not row.has_branches
    (with_branches,) = shared_rows([[*range(50), 1], [*range(50), 2]], 16, 100)
    assert with_branches.has_branches
    assert len(with_branches.tokens) == 52


@pytest.mark.parametrize("max_tokens", [1, 64, 300, 5000])
def test_batches_contain_each_row_once_with_little_padding(max_tokens: int) -> None:
    draw = random.Random(0)
    lengths = [draw.choice([3, 5, 40, 41, 200]) for _ in range(300)]
    found = list(batches(lengths, max_tokens))
    assert sorted(number for batch in found for number in batch) == list(range(300))
    for batch in found:
        sizes = [lengths[number] for number in batch]
        assert sizes == sorted(sizes, reverse=True)
        assert len(sizes) == 1 or len(sizes) * sizes[0] <= max_tokens
        padding = [sizes[0] * n for n, size in enumerate(sizes) if size < MIN_LENGTH_RATIO * sizes[0]]
        assert all(before < MIN_FAST_TOKENS for before in padding)
    firsts = [lengths[batch[0]] for batch in found]
    assert firsts == sorted(firsts, reverse=True)


def test_no_texts_give_no_batches() -> None:
    assert list(batches([], 10)) == []
    assert shared_rows([], 10, 10) == []
