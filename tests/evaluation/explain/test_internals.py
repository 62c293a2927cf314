"""Attention, layers and losses of an explanation, compared with the model that makes the prediction."""

import math

import pytest
import torch

from gpt_lightning.evaluation.explain.internals import MAX_LENS_TOKENS
from tests.evaluation.explain.models import make_model

SPECIAL = "<|endoftext|>"


@torch.no_grad()
def test_losses_are_those_after_the_prompt_that_the_model_reads() -> None:
    model = make_model("token")
    inside = model.explain(f"ab{SPECIAL}cd")[0].internals
    assert inside is not None
    log_p_TV = model.task(torch.tensor([[97, 98, 256, 99, 100]]))[0].log_softmax(-1)
    assert [each.text for each in inside.losses] == ["a", "b", "c", "d"]
    expected = [-float(log_p_TV[place, index]) for place, index in ((0, 98), (2, 99), (3, 100))]
    assert [each.loss for each in inside.losses[1:]] == pytest.approx(expected, rel=1e-4)
    last = inside.lens[-1].tokens
    probabilities = [last[place].probability for place in (0, 2, 3)]
    assert probabilities == pytest.approx([math.exp(-loss) for loss in expected], rel=1e-4)


@pytest.mark.parametrize("target", [None, "xyz"])
@torch.no_grad()
def test_layers_and_attention_are_those_of_the_prediction_with_prefix_attention(target: str | None) -> None:
    model = make_model("token", attention="prefix")
    found = model.explain("ab cd", target=target, layers=["blocks.0.attention"])[0]
    (decision,), inside = found.decisions, found.internals
    assert inside is not None
    lens = inside.lens[-1].tokens
    place = len("ab cd") - 1
    if target is None:
        assert decision.probability == pytest.approx(lens[place].candidates[0].probability, rel=1e-4)
        assert decision.tokens[-1].text == "d"
    else:
        steps = [lens[place].probability, lens[place + 1].probability]
        assert all(step is not None for step in steps)
        score = model.explain("ab cd", target="xy")[0].decisions[0].attributions.score
        assert math.log(steps[0] or 1.0) + math.log(steps[1] or 1.0) == pytest.approx(score, rel=1e-4)
    size = len("ab cd") + (0 if target is None else 2)
    for head in inside.attention[0].heads:
        assert all(
            (p > 0.0) == (row >= column or max(row, column) < 5)
            for row in range(size)
            for column, p in enumerate(head[row])
        )


@torch.no_grad()
def test_only_the_last_positions_of_the_layers_are_computed() -> None:
    model, sizes = make_model("token"), list[int]()
    handle = model.task.head.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].size(-2)))
    inside = model.explain("word " * 18)[0].internals
    handle.remove()
    assert inside is not None
    assert [len(lens.tokens) for lens in inside.lens] == [MAX_LENS_TOKENS] * 3
    assert len(inside.lens_tokens) == MAX_LENS_TOKENS
    assert sizes[-4:] == [MAX_LENS_TOKENS] * 4
