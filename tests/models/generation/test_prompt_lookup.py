"""Prompt-lookup speculative decoding: the draft tokens, and the same output as without it."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.generate import Sampling, generate
from gpt_lightning.models.generation.prompt_lookup import PromptLookup
from tests.models.generation.test_generate import ALL, BLOCK_SIZE, GREEDY, model
from tests.models.huggingface.test_parity import random_ids


def draft_by_search(text: list[int], max_tokens: int) -> list[int]:
    """Return the draft tokens, found by a linear search from the end of the text."""
    for length, count in ((5, 14), (3, 7), (2, 2), (1, 1)):
        tail = text[len(text) - length :]
        for start in range(len(text) - 1, length - 1, -1):
            if text[start - length : start] == tail:
                return (text[start:] * count)[: min(count, max_tokens)]
    return []


def test_draft_follows_the_last_occurrence() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 5, 9, 2, 3, 6, 7, 8])
    assert lookup.propose(20) == []
    lookup.append(2)
    assert lookup.propose(20) == [3]
    lookup.append(3)
    assert lookup.propose(20) == [6, 7]  # after the later (2, 3)
    lookup = PromptLookup([1, 2, 3, 4, 5, 9, 2, 3, 6, 7, 8, 1, 2, 3])
    assert lookup.propose(20) == [4, 5, 9, 2, 3, 6, 7]  # after (1, 2, 3), although (2, 3) occurs later too
    assert lookup.propose(2) == [4, 5]
    assert lookup.propose(0) == []


def test_draft_continues_a_periodic_text() -> None:
    assert PromptLookup([7, 1, 2, 1, 2, 1]).propose(5) == [2, 1, 2, 1, 2]
    assert PromptLookup([3] * 6).propose(20) == [3] * 14


@pytest.mark.parametrize("text", [[], [1], [1, 2]], ids=str)
def test_short_text_gives_no_draft(text: list[int]) -> None:
    assert PromptLookup(text).propose(5) == []


def test_draft_matches_a_linear_search() -> None:
    numbers = random.Random(0)
    found = 0
    for _ in range(500):
        text = [numbers.randrange(numbers.choice([2, 4, 9])) for _ in range(numbers.randrange(40))]
        cut, max_tokens = numbers.randrange(len(text) + 1), numbers.randrange(20)
        lookup = PromptLookup(text[:cut])
        for token in text[cut:]:
            lookup.append(token)
        assert lookup.propose(max_tokens) == draft_by_search(text, max_tokens)
        found += bool(lookup.propose(max_tokens))
    assert found > 100


class RecordingHead:
    """Head that records the number of rows of each call."""

    def __init__(self, head: Callable[[Tensor], Tensor]) -> None:
        self.head, self.rows = head, list[int]()

    def __call__(self, hidden_RC: Tensor) -> Tensor:
        self.rows.append(len(hidden_RC))
        return self.head(hidden_RC)


@ALL
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(top_k=3)], ids=["greedy", "sampled"])
@pytest.mark.parametrize("block_size", [5, BLOCK_SIZE, 200])
def test_tokens_are_the_same_with_prompt_lookup(shape: dict[str, Any], sampling: Sampling, block_size: int) -> None:
    gpt, head = model(**shape, block_size=block_size)
    for seed in range(3):
        runs = []
        for use_prompt_lookup in (False, True):
            counted = RecordingHead(head)
            steps = generate(
                Decoder(gpt),
                counted,
                random_ids(1, 9) % 4,
                max_new_tokens=120,
                sampling=sampling,
                generator=torch.Generator().manual_seed(seed),
                use_prompt_lookup=use_prompt_lookup,
            )
            runs.append([int(step) for step in steps])
            assert (max(counted.rows) > 1) is use_prompt_lookup
        assert runs[0] == runs[1]
        assert len(runs[0]) == 120


def test_repetitive_text_takes_fewer_forward_passes() -> None:
    """The head repeats five tokens, so each forward pass yields fifteen."""
    gpt, _ = model(block_size=200, position="rotary")
    with torch.no_grad():
        for parameter in gpt.blocks.parameters():
            parameter.zero_()  # the hidden state is the normalized embedding of the token
        embedded_VC = gpt.norm(gpt.token_embedding.weight[:5])

    def head(hidden_RC: Tensor) -> Tensor:
        following_R = (torch.cdist(hidden_RC, embedded_VC).argmin(1) + 1) % 5
        return torch.nn.functional.one_hot(following_R, 5).double()

    counted = RecordingHead(head)
    prompt = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4]])
    made = [int(step) for step in generate(Decoder(gpt), counted, prompt, max_new_tokens=60, sampling=GREEDY)]
    assert made == [place % 5 for place in range(60)]
    assert counted.rows == [15] * 4


def test_stop_token_within_a_draft_ends_the_text() -> None:
    gpt, head = model(block_size=200)
    prompt = random_ids(1, 9)
    whole = [int(step) for step in generate(Decoder(gpt), head, prompt, max_new_tokens=60, sampling=GREEDY)]
    for stop_id in set(whole):
        steps = generate(Decoder(gpt), head, prompt, max_new_tokens=60, sampling=GREEDY, stop_ids=(stop_id,))
        assert [int(step) for step in steps] == whole[: whole.index(stop_id) + 1]


def test_several_rows_do_not_use_prompt_lookup() -> None:
    gpt, head = model(block_size=200)
    counted = RecordingHead(head)
    assert len(list(generate(Decoder(gpt), counted, torch.ones(2, 9).long(), max_new_tokens=5, sampling=GREEDY))) == 5
    assert counted.rows == [2] * 5
