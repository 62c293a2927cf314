"""Decisions about prompts: their pieces of text, and erasure in front of several target tokens."""

import pytest
import torch

from gpt_lightning.evaluation.explain.attributions import attribute
from gpt_lightning.evaluation.explain.erasure import erase
from gpt_lightning.evaluation.explain.model_input import LAYOUT, InputToken, ModelInput, decoded_input
from gpt_lightning.evaluation.explain.token_decisions import NextTokenDecision
from gpt_lightning.tasks import CausalLM
from tests.evaluation.explain.models import make_model

END = "<|endoftext|>"


@pytest.mark.parametrize("text", [f"ab{END}c d", f"{END}ab", f"a{END}{END} b", f"ab{END}"])
def test_special_tokens_are_no_part_of_the_text_after_them(text: str) -> None:
    (decision,) = make_model("token").explain(text)[0].decisions
    assert "".join(token.text for token in decision.tokens) == text
    names = [token.text for token in decision.tokens if token.part == LAYOUT]
    assert names == [END] * text.count(END)
    assert [word.text for word in decision.words] == text.replace(END, " ").split()
    assert decision.num_cut == 0


@pytest.mark.parametrize(("prompt", "most"), [("word", 0), ("one two", 1), ("one two three", 2)])
@torch.no_grad()
def test_a_token_of_the_prompt_is_left_in_front_of_several_target_tokens(prompt: str, most: int) -> None:
    model = make_model("token")
    assert isinstance(model.task, CausalLM)
    ids = model.tokenizer.encode(prompt)
    target: list[int] = []
    for _ in range(3):
        target.append(int(model.task(torch.tensor([[*ids, *target]]))[0, -1].argmax()))
    decision = NextTokenDecision(model.task, model.tokenizer, ids, target)
    after = [InputToken(index, "", LAYOUT) for index in target[:-1]]
    read = decoded_input(model.tokenizer, ids, "text")
    model_input = ModelInput([*read.tokens, *after], read.words)
    with torch.enable_grad():
        attributions = attribute(decision, model_input, model.tokenizer.end_of_text_id)
    erasure = erase(decision, model_input, attributions)
    assert erasure is not None
    assert len(erasure.removals) <= most
    kept = list(range(len(ids)))
    for removal in erasure.removals:
        kept = [place for place in kept if place not in model_input.words[removal.word].tokens]
        whole = torch.tensor([[*(ids[place] for place in kept), *target]])
        log_p_TV = model.task(whole)[0, len(kept) - 1 : -1].log_softmax(-1)
        expected = log_p_TV.gather(1, torch.tensor(target).unsqueeze(1)).sum()
        assert removal.score == pytest.approx(float(expected), rel=1e-4)


def test_the_parts_of_the_work_sum_to_one() -> None:
    model = make_model("token")
    assert isinstance(model.task, CausalLM)
    ids = model.tokenizer.encode("one two three")
    decision = NextTokenDecision(model.task, model.tokenizer, ids, [5])
    parts: list[float] = []
    attribute(decision, decoded_input(model.tokenizer, ids, "text"), model.tokenizer.end_of_text_id, parts.append)
    assert sum(parts) == pytest.approx(1)
    assert min(parts) >= 0


def test_rows_need_a_token_before_the_decision() -> None:
    model = make_model("token")
    assert isinstance(model.task, CausalLM)
    decision = NextTokenDecision(model.task, model.tokenizer, [1, 2], [3, 4])
    assert decision.rows([[1, 2]]).places.tolist() == [[0, 1]]
    with pytest.raises(AssertionError):
        decision.rows([[2]])
