"""Attention, layers and losses of an explanation, compared with the model that makes the prediction."""

import math

import pytest
import torch

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
