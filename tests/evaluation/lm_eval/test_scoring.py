"""How likely tokens are, beside the whole table of log-probabilities."""

import pytest
import torch

from gpt_lightning.evaluation.lm_eval.scoring import likelihoods


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
