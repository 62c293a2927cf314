"""Attention, layers and losses of an explanation, compared with the model that makes the prediction."""

import math

import pytest
import torch

from gpt_lightning.evaluation.explain.explanation import Explanation
from gpt_lightning.evaluation.explain.internals import MAX_LENS_TOKENS
from tests.evaluation.explain.models import ROWS, make_model

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


@pytest.mark.parametrize("kind", ["label", "multi_label", "value", "tag", "answer"])
def test_layers_of_a_head_end_with_the_score_of_the_decision(kind: str) -> None:
    model = make_model(kind)
    found = model.explain(ROWS[kind])[0]
    assert found.internals is not None
    layers = found.internals.head_lens
    assert [each.layer for each in layers] == ["embedding", "blocks.0", "blocks.1"]
    assert layers[-1].score == pytest.approx(found.decisions[0].attributions.score, rel=1e-4)
    probability = found.decisions[0].probability
    assert layers[-1].probability == (None if probability is None else pytest.approx(probability, rel=1e-4))
    with model.patch("blocks.1.attention", 0.0), model.patch("blocks.1.mlp", 0.0):
        without_last = model.explain(ROWS[kind], target=None if kind == "value" else _target(found))[0].decisions[0]
    assert layers[1].score == pytest.approx(without_last.attributions.score, rel=1e-4)
    assert layers[1].score != pytest.approx(layers[-1].score, rel=1e-2)


def _target(found: Explanation) -> str:
    (decision, *_) = found.decisions
    return f"{decision.subject}={decision.target}" if decision.kind == "tag" else decision.target
