"""Batched generation, compared with generation of each prompt alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models import GPT
from gpt_lightning.models.generation.answer import Answer
from gpt_lightning.models.generation.batched import generate_batched
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.generate import Sampling, generate
from tests.models.generation.test_generate import ALL, GREEDY, VOCAB_SIZE, model

PROMPTS = [[3], [5, 6, 7, 8, 9, 10, 11], [1, 2], [4, 4, 4, 4, 4], [12, 13, 14], [3, 1, 4, 1, 5, 9]]


def generate_alone(gpt: GPT, head: Callable[[Tensor], Tensor], prompt: list[int], new: int) -> list[int]:
    steps = generate(Decoder(gpt), head, torch.tensor([prompt]), max_new_tokens=new, sampling=GREEDY)
    return [int(token) for token in steps]


@ALL
def test_continuations_match_those_of_single_prompts(shape: dict[str, Any]) -> None:
    gpt, head = model(**shape)
    batched = generate_batched(Decoder(gpt), head, PROMPTS, max_new_tokens=9, sampling=GREEDY)
    assert batched == [Answer(generate_alone(gpt, head, prompt, 9), False) for prompt in PROMPTS]


@pytest.mark.parametrize("every", [2, 3, 5])
def test_each_row_ends_when_it_is_finished(every: int) -> None:
    """Rows must end correctly also after other rows have left the cache."""
    gpt, head = model(position="rotary")
    whole = [generate_alone(gpt, head, prompt, 9) for prompt in PROMPTS]

    def is_finished(tokens: list[int]) -> bool:
        return sum(tokens) % every == 0

    expected = [next((text[:n] for n in range(1, 9) if is_finished(text[:n])), text) for text in whole]
    assert len({len(text) for text in expected}) > 2, "all rows end at the same length"
    answers = generate_batched(Decoder(gpt), head, PROMPTS, max_new_tokens=9, sampling=GREEDY, is_finished=is_finished)
    assert answers == [Answer(ids, is_finished(ids)) for ids in expected]


def test_tokens_are_drawn_with_the_given_generator() -> None:
    gpt, head = model()
    prompts = [[3]] * 400

    def draw(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        drawn = generate_batched(
            Decoder(gpt), head, prompts, max_new_tokens=1, sampling=Sampling(), generator=generator
        )
        return [answer.ids[0] for answer in drawn]

    assert draw(1) == draw(1) != draw(2)
    expected = Sampling().probabilities(head(gpt(torch.tensor([[3]]))[:, -1]))[0].detach()
    likeliest = int(expected.argmax())
    assert abs(draw(1).count(likeliest) / 400 - float(expected[likeliest])) < 0.1
    assert all(0 <= token < VOCAB_SIZE for token in draw(1))


def test_samples_with_their_own_generators_do_not_depend_on_other_prompts() -> None:
    gpt, head = model(position="rotary")

    def draw(numbers: list[int]) -> list[Answer]:
        return generate_batched(
            Decoder(gpt),
            lambda hidden: head(hidden) / 50.0,
            [PROMPTS[number] for number in numbers],
            max_new_tokens=9,
            sampling=Sampling(),
            stop_ids=range(20),
            generator=[torch.Generator().manual_seed(number) for number in numbers],
        )

    alone = [draw([number])[0] for number in range(len(PROMPTS))]
    assert len({len(answer.ids) for answer in alone}) > 2
    assert draw([4, 0, 3, 1, 5, 2]) == [alone[number] for number in (4, 0, 3, 1, 5, 2)]


def test_stop_token_is_not_part_of_the_text() -> None:
    gpt, head = model(position="rotary")
    whole = [generate_alone(gpt, head, prompt, 9) for prompt in PROMPTS]
    stop_ids = {9, 1}
    ends = [next((n for n, token in enumerate(text) if token in stop_ids), 9) for text in whole]
    answers = generate_batched(Decoder(gpt), head, PROMPTS, max_new_tokens=9, stop_ids=stop_ids)
    expected = [(text[:end], end < 9, [*text, None][end]) for text, end in zip(whole, ends, strict=True)]
    assert [(answer.ids, answer.is_complete, answer.stop_id) for answer in answers] == expected
    assert len(set(ends)) > 2


def test_prompts_that_do_not_fit_are_refused() -> None:
    gpt, head = model()
    with pytest.raises(InputError, match="a prompt of 7 tokens and 10 new tokens exceed block_size=16"):
        generate_batched(Decoder(gpt), head, PROMPTS, max_new_tokens=10, sampling=GREEDY)
