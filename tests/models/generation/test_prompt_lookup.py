"""Guesses from what the text repeats: the right places, and not one token that would not have been drawn without."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_lightning.models.generation.generate import Sampling, generate
from gpt_lightning.models.generation.prompt_lookup import PromptLookup
from tests.models.generation.test_generate import ALL, BLOCK_SIZE, GREEDY, model
from tests.models.huggingface.test_parity import random_ids


def by_searching(text: list[int], room: int) -> list[int]:
    """The same by looking through all of the text, from its end."""
    for length, count in ((5, 14), (3, 7), (2, 2), (1, 1)):
        tail = text[len(text) - length :]
        for start in range(len(text) - 1, length - 1, -1):
            if text[start - length : start] == tail:
                return (text[start:] * count)[: min(count, room)]
    return []


def test_guesses_are_what_followed_the_last_time() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 5, 9, 2, 3, 6, 7, 8])
    assert lookup.guess(20) == []
    lookup.append(2)
    assert lookup.guess(20) == [3]
    lookup.append(3)
    assert lookup.guess(20) == [6, 7]  # after the later (2, 3)
    lookup = PromptLookup([1, 2, 3, 4, 5, 9, 2, 3, 6, 7, 8, 1, 2, 3])
    assert lookup.guess(20) == [4, 5, 9, 2, 3, 6, 7]  # after (1, 2, 3), though (2, 3) came later elsewhere
    assert lookup.guess(2) == [4, 5]
    assert lookup.guess(0) == []


def test_a_text_that_goes_round_is_guessed_to_go_on() -> None:
    assert PromptLookup([7, 1, 2, 1, 2, 1]).guess(5) == [2, 1, 2, 1, 2]
    assert PromptLookup([3] * 6).guess(20) == [3] * 14


@pytest.mark.parametrize("text", [[], [1], [1, 2]], ids=str)
def test_too_little_text_gives_no_guess(text: list[int]) -> None:
    assert PromptLookup(text).guess(5) == []


def test_any_text_is_guessed_as_by_searching_it() -> None:
    numbers = random.Random(0)
    found = 0
    for _ in range(500):
        text = [numbers.randrange(numbers.choice([2, 4, 9])) for _ in range(numbers.randrange(40))]
        cut, room = numbers.randrange(len(text) + 1), numbers.randrange(20)
        lookup = PromptLookup(text[:cut])
        for token in text[cut:]:
            lookup.append(token)
        assert lookup.guess(room) == by_searching(text, room)
        found += bool(lookup.guess(room))
    assert found > 100


class Counted:
    """A head that counts its calls and the rows it was given."""

    def __init__(self, head: Callable[[Tensor], Tensor]) -> None:
        self.head, self.rows = head, list[int]()

    def __call__(self, hidden_RC: Tensor) -> Tensor:
        self.rows.append(len(hidden_RC))
        return self.head(hidden_RC)


@ALL
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(top_k=3)], ids=["greedy", "drawn"])
@pytest.mark.parametrize("block_size", [5, BLOCK_SIZE, 200])
def test_no_token_is_another(shape: dict[str, Any], sampling: Sampling, block_size: int) -> None:
    gpt, head = model(**shape, block_size=block_size)
    for seed in range(3):
        runs = []
        for guess in (False, True):
            counted = Counted(head)
            steps = generate(
                gpt,
                counted,
                random_ids(1, 9) % 4,
                max_new_tokens=120,
                sampling=sampling,
                generator=torch.Generator().manual_seed(seed),
                guess=guess,
            )
            runs.append([int(step) for step in steps])
            assert (max(counted.rows) > 1) is guess
        assert runs[0] == runs[1]
        assert len(runs[0]) == 120


def test_a_text_that_repeats_itself_takes_fewer_passes() -> None:
    """A head that goes round five tokens: once they were seen, fifteen come of each pass."""
    gpt, _ = model(block_size=200, position="rotary")
    with torch.no_grad():
        for parameter in gpt.blocks.parameters():
            parameter.zero_()  # what is left is each token's own embedding
        embedded_VC = gpt.norm(gpt.token_embedding.weight[:5])

    def head(hidden_RC: Tensor) -> Tensor:
        following_R = (torch.cdist(hidden_RC, embedded_VC).argmin(1) + 1) % 5
        return torch.nn.functional.one_hot(following_R, 5).double()

    counted = Counted(head)
    prompt = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4]])
    made = [int(step) for step in generate(gpt, counted, prompt, max_new_tokens=60, sampling=GREEDY)]
    assert made == [place % 5 for place in range(60)]
    assert counted.rows == [15] * 4


def test_a_stop_token_ends_the_text_in_the_midst_of_guesses() -> None:
    gpt, head = model(block_size=200)
    prompt = random_ids(1, 9)
    whole = [int(step) for step in generate(gpt, head, prompt, max_new_tokens=60, sampling=GREEDY)]
    for stop_id in set(whole):
        steps = generate(gpt, head, prompt, max_new_tokens=60, sampling=GREEDY, stop_id=stop_id)
        assert [int(step) for step in steps] == whole[: whole.index(stop_id) + 1]


def test_several_rows_are_not_guessed() -> None:
    gpt, head = model(block_size=200)
    counted = Counted(head)
    assert len(list(generate(gpt, counted, torch.ones(2, 9).long(), max_new_tokens=5, sampling=GREEDY))) == 5
    assert counted.rows == [2] * 5
