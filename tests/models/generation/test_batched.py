"""Texts of different lengths that go on together are those that go on alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models import GPT
from gpt_lightning.models.generation.batched import generate_batched
from gpt_lightning.models.generation.generate import Sampling, generate
from tests.models.generation.test_generate import ALL, GREEDY, VOCAB_SIZE, model

PROMPTS = [[3], [5, 6, 7, 8, 9, 10, 11], [1, 2], [4, 4, 4, 4, 4], [12, 13, 14], [3, 1, 4, 1, 5, 9]]


def alone(gpt: GPT, head: Callable[[Tensor], Tensor], prompt: list[int], new: int) -> list[int]:
    steps = generate(gpt, head, torch.tensor([prompt]), max_new_tokens=new, sampling=GREEDY)
    return [int(token) for token in steps]


@ALL
def test_each_goes_on_as_alone(shape: dict[str, Any]) -> None:
    gpt, head = model(**shape)
    together = generate_batched(gpt, head, PROMPTS, max_new_tokens=9, sampling=GREEDY, ended=lambda _: False)
    assert together == [alone(gpt, head, prompt, 9) for prompt in PROMPTS]


@pytest.mark.parametrize("every", [2, 3, 5])
def test_each_ends_when_it_is_complete(every: int) -> None:
    """Also after others have left."""
    gpt, head = model(position="rotary")
    whole = [alone(gpt, head, prompt, 9) for prompt in PROMPTS]

    def ended(tokens: list[int]) -> bool:
        return sum(tokens) % every == 0

    expected = [next((text[:n] for n in range(1, 9) if ended(text[:n])), text) for text in whole]
    assert len({len(text) for text in expected}) > 2, "all end at once"
    assert generate_batched(gpt, head, PROMPTS, max_new_tokens=9, sampling=GREEDY, ended=ended) == expected


def test_tokens_are_drawn_with_the_given_numbers() -> None:
    gpt, head = model()
    prompts = [[3]] * 400

    def draw(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        drawn = generate_batched(
            gpt, head, prompts, max_new_tokens=1, sampling=Sampling(), ended=lambda _: False, generator=generator
        )
        return [token for (token,) in drawn]

    assert draw(1) == draw(1) != draw(2)
    expected = Sampling().probabilities(head(gpt(torch.tensor([[3]]))[:, -1]))[0].detach()
    likeliest = int(expected.argmax())
    assert abs(draw(1).count(likeliest) / 400 - float(expected[likeliest])) < 0.1
    assert all(0 <= token < VOCAB_SIZE for token in draw(1))


def test_what_does_not_fit_is_refused() -> None:
    gpt, head = model()
    with pytest.raises(InputError, match="a prompt of 7 tokens and 10 new ones do not fit block_size=16"):
        generate_batched(gpt, head, PROMPTS, max_new_tokens=10, sampling=GREEDY, ended=lambda _: False)
