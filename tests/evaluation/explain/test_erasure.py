"""Erasure, compared with predictions for texts from which the words are cut by hand."""

import math

import pytest
import torch
from torch import nn

from gpt_lightning.api import Model
from gpt_lightning.evaluation.explain.erasure import MAX_REMOVED
from gpt_lightning.evaluation.explain.explanation import ExplainedDecision
from tests.evaluation.explain.models import ROWS, make_model

TEXT = "one two three four five six seven"


def without(text: str, decision: ExplainedDecision, removed: list[int]) -> str:
    """Return a text without some of its words and the blanks before them."""
    for index in sorted(removed, reverse=True):
        start = 0 if index == 0 else decision.words[index - 1].end
        text = text[:start] + text[decision.words[index].end :]
    return text


def outcome(model: Model, text: str) -> tuple[str, dict[str, float]]:
    """Return the predicted label of a text and its scores, from ``predict``."""
    (row,) = model.predict([{"text": text}])
    return row["label"], row["scores"]


def test_each_removal_lowers_the_score_the_most() -> None:
    """Deleting tokens of a tokenizer of bytes cuts the text."""
    model = make_model("label")
    (decision,) = model.explain(TEXT)[0].decisions
    erasure, removed = decision.erasure, list[int]()
    assert erasure is not None
    for removal in erasure.removals:
        others = [index for index in range(len(decision.words)) if index not in removed]
        texts = {index: without(TEXT, decision, [*removed, index]) for index in others}
        scores = {index: outcome(model, text)[1][decision.target] for index, text in texts.items()}
        assert removal.word == min(scores, key=scores.__getitem__)
        removed.append(removal.word)
        label, after = outcome(model, without(TEXT, decision, removed))
        assert removal.outcome == label
        assert after[decision.target] == pytest.approx(1 / (1 + math.exp(-removal.score)), rel=1e-4)
        assert (label != decision.target) == (erasure.is_changed and removal is erasure.removals[-1])
    assert erasure.num_candidates == 7


def test_the_search_ends() -> None:
    model = make_model("label", std=0.0)
    assert isinstance(model.task.head, nn.Linear)
    model.task.head.bias.data[0] = 1.0
    erasure = model.explain("word " * 16)[0].decisions[0].erasure
    assert erasure is not None
    assert len(erasure.removals) == MAX_REMOVED
    assert not erasure.is_changed


def test_a_word_that_is_tagged_stays() -> None:
    for explanation in make_model("tag").explain([ROWS["tag"]]):
        for decision in explanation.decisions:
            assert decision.erasure is not None
            for removal in decision.erasure.removals:
                assert decision.words[removal.word].text not in decision.subject.split()


def test_a_number_counts_as_changed_when_it_moves_by_a_standard_deviation() -> None:
    model = make_model("value")
    assert isinstance(model.task.head, nn.Linear)
    model.task.head.weight.data *= 10.0
    (decision,) = model.explain(TEXT)[0].decisions
    assert decision.erasure is not None
    assert decision.erasure.is_changed
    words = [removal.word for removal in decision.erasure.removals]
    texts = [without(TEXT, decision, words[:count]) for count in range(len(words) + 1)]
    value, *before, last = [float(row["value"]) for row in model.predict([{"text": text} for text in texts])]
    assert all(abs(each - value) < 0.5 for each in before)
    assert abs(last - value) >= 0.5


def test_only_the_prediction_can_change() -> None:
    model = make_model("label")
    predicted = model.explain(TEXT)[0].decisions[0].target
    other = next(label for label in ("bad", "fine", "good") if label != predicted)
    (decision,) = model.explain(TEXT, target=other)[0].decisions
    assert (decision.target, decision.predicted, decision.erasure) == (other, predicted, None)


def test_the_last_token_of_a_text_may_be_removed() -> None:
    """The next token is then predicted from the token before it."""
    model, lengths = make_model("token"), set()
    for text in ("a b", "x y z", "one two"):
        decision = model.explain(text)[0].decisions[0]
        assert decision.erasure is not None
        first = decision.erasure.removals[0]
        target = int(model.task(torch.tensor([model.tokenizer.encode(text)]))[0, -1].argmax())
        ids = model.tokenizer.encode(without(text, decision, [first.word]))
        logits = model.task(torch.tensor([ids]))[0, -1].detach()
        assert first.score == pytest.approx(float(logits.log_softmax(0)[target]), abs=1e-5)
        lengths.add(first.word == len(decision.words) - 1)
    assert lengths == {True, False}


def test_a_single_word_is_not_removed_from_a_model_without_other_tokens() -> None:
    (decision,) = make_model("token").explain("word")[0].decisions
    assert decision.erasure is not None
    assert decision.erasure.removals == []
