"""Log-probabilities of tokens, compared with those from all logits."""

from typing import Any

import pytest
import torch

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.lm_eval.scoring import Continuation, hidden_states_of_branches, likelihoods, score
from tests.models.test_gpt import ALL, BLOCK_SIZE, VOCAB_SIZE, model, random_ids, randomize
from tests.runs import causal_lm


@pytest.mark.parametrize("chunk_size", [1, 2, 5, 100])
def test_likelihoods_match_all_logits(chunk_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(7, 3, generator=generator), torch.randn(5, 3, generator=generator)
    indices, targets = (torch.randint(high, (60,), generator=generator) for high in (7, 5))
    seen: list[int] = []

    def head(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return x @ weight.mT

    log_p, greedy = likelihoods(head, hidden, indices, targets, chunk_size=chunk_size)
    table = (hidden @ weight.mT).log_softmax(-1)
    torch.testing.assert_close(log_p, table[indices, targets])
    assert greedy.equal(table.argmax(-1)[indices] == targets)
    assert 0 < int(greedy.sum()) < 60
    assert max(seen) <= chunk_size
    assert sum(seen) == len(torch.unique(indices)), "each position is computed once"


def test_contexts_are_read_in_both_directions_with_prefix_attention() -> None:
    task = causal_lm(VOCAB_SIZE, n_layer=2, block_size=BLOCK_SIZE, attention="prefix").eval()
    randomize(task)
    texts = [([1, 2, 3, 4], [5, 6]), ([1, 2, 3], [4, 5, 6]), ([1, 2, 3, 4], [7]), ([9], [8, 7])]
    found = dict(score(task, [Continuation(*text) for text in texts], max_tokens=100))
    assert len(found) == 4
    for number, (context, tokens) in enumerate(texts):
        ids = torch.tensor([[*context, *tokens]])
        prefix = torch.arange(ids.size(1))[None] < len(context)
        with torch.no_grad():
            log_p = task.head(task.backbone(ids, prefix_mask=prefix)).log_softmax(-1)[0, len(context) - 1 : -1]
        expected = float(log_p[torch.arange(len(tokens)), tokens].sum())
        assert found[number].log_probability == pytest.approx(expected, rel=1e-4)


def test_first_of_two_equally_probable_tokens_is_greedy() -> None:
    logits = torch.tensor([[0.0, 3.0, 3.0, 1.0]])
    targets = torch.tensor([1, 2, 3])
    _, greedy = likelihoods(lambda x: x, logits, torch.zeros(3, dtype=torch.int64), targets, chunk_size=4)
    assert greedy.tolist() == [True, False, False]


@ALL
def test_branches_do_not_attend_to_other_texts(shape: dict[str, Any]) -> None:
    """Compare the hidden states of texts in a shared row with those of each text on its own."""
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
    indices = [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 6, 7, 8], [0, 1, 2, 3, 6, 9], [0, 1, 10]]
    for text, text_indices in zip(texts, indices, strict=True):
        torch.testing.assert_close(hidden[0, text_indices], gpt(torch.tensor([text]))[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(hidden[1, :9], gpt(torch.tensor([ids[:9]]))[0], rtol=1e-10, atol=1e-10)


def test_each_text_of_a_row_must_fit_the_context() -> None:
    gpt = model()
    twice = torch.arange(BLOCK_SIZE).repeat(1, 2)
    hidden_states_of_branches(gpt, random_ids(1, 2 * BLOCK_SIZE), twice)  # the row may be longer
    with pytest.raises(InputError, match="sequence of 13 tokens is longer than block_size=12"):
        hidden_states_of_branches(gpt, random_ids(1, 2 * BLOCK_SIZE), twice + 1)
