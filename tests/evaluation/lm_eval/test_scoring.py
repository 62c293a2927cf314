"""Log-probabilities of tokens, compared with the whole table."""

from typing import Any

import pytest
import torch

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.lm_eval.scoring import hidden_states_of_branches, likelihoods
from tests.models.test_gpt import ALL, BLOCK_SIZE, model, random_ids


@pytest.mark.parametrize("at_once", [1, 2, 5, 100])
def test_parts_of_the_logits_are_all_of_them(at_once: int) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(7, 3, generator=generator), torch.randn(5, 3, generator=generator)
    places, targets = (torch.randint(high, (60,), generator=generator) for high in (7, 5))
    seen: list[int] = []

    def head(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return x @ weight.mT

    log_p, greedy = likelihoods(head, hidden, places, targets, at_once=at_once)
    table = (hidden @ weight.mT).log_softmax(-1)
    torch.testing.assert_close(log_p, table[places, targets])
    assert greedy.equal(table.argmax(-1)[places] == targets)
    assert 0 < int(greedy.sum()) < 60
    assert max(seen) <= at_once
    assert sum(seen) == len(torch.unique(places)), "a position that is asked for twice is computed once"


def test_of_two_that_are_equally_likely_the_first_is_the_likeliest() -> None:
    logits = torch.tensor([[0.0, 3.0, 3.0, 1.0]])
    targets = torch.tensor([1, 2, 3])
    _, greedy = likelihoods(lambda x: x, logits, torch.zeros(3, dtype=torch.int64), targets, at_once=4)
    assert greedy.tolist() == [True, False, False]


@ALL
def test_a_branch_sees_its_own_text_alone(shape: dict[str, Any]) -> None:
    """Texts that share their beginnings come out of one row as each does alone."""
    gpt, ids = model(**shape), random_ids(1, BLOCK_SIZE)[0].tolist()
    texts = [ids[:6], [*ids[:4], 9, 8, 7], [*ids[:4], 9, 3], [*ids[:2], 5]]
    row = [*texts[0], 9, 8, 7, 3, 5]
    positions = [0, 1, 2, 3, 4, 5, 4, 5, 6, 5, 2]
    padding = 3
    hidden = hidden_states_of_branches(
        gpt,
        torch.tensor([row + [1] * padding, ids[:9] + [1] * (len(row) - 9 + padding)]),
        torch.tensor([positions + [0] * padding, [*range(9)] + [0] * (len(row) - 9 + padding)]),
    )
    places = [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 6, 7, 8], [0, 1, 2, 3, 6, 9], [0, 1, 10]]
    for text, where in zip(texts, places, strict=True):
        torch.testing.assert_close(hidden[0, where], gpt(torch.tensor([text]))[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(hidden[1, :9], gpt(torch.tensor([ids[:9]]))[0], rtol=1e-10, atol=1e-10)


def test_of_branches_the_longest_text_must_fit() -> None:
    gpt = model()
    twice = torch.arange(BLOCK_SIZE).repeat(1, 2)
    hidden_states_of_branches(gpt, random_ids(1, 2 * BLOCK_SIZE), twice)  # as a row it is longer
    with pytest.raises(InputError, match="sequence of 13 tokens is longer than block_size=12"):
        hidden_states_of_branches(gpt, random_ids(1, 2 * BLOCK_SIZE), twice + 1)
