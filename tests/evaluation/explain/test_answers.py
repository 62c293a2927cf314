"""Answers in contexts of several windows, compared with the predictions of the model."""

import pytest

from tests.evaluation.explain.models import make_model

CONTEXT = " ".join(f"word{number}" for number in range(60))
ROW = {"question": "Which?", "context": CONTEXT}


@pytest.mark.parametrize("target", ["word3", "word20 word21", "word33", "word59", "9 word50 wor"])
def test_the_prediction_is_that_of_all_windows(target: str) -> None:
    model = make_model("answer")
    expected = model.predict([ROW], stride=8)[0]["answer"]
    (decision,) = model.explain(ROW, stride=8, target=target)[0].decisions
    assert expected != target
    assert decision.target == target
    assert decision.predicted == expected
    assert decision.erasure is None


def test_a_predicted_target_is_explained_in_its_window() -> None:
    """The target is what the model predicts, so its erasure is that of the prediction."""
    model = make_model("answer")
    (decision,) = model.explain(ROW, stride=8)[0].decisions
    assert decision.predicted == decision.target == model.predict([ROW], stride=8)[0]["answer"]
    assert CONTEXT.count(decision.target) == 1
    (given,) = model.explain(ROW, stride=8, target=decision.target)[0].decisions
    assert given == decision
    assert given.erasure is not None
