"""Extractive question answering: span search, merging of windows, and the no-answer threshold."""

import itertools
import math
from typing import Any

import pytest
import torch

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.tasks import QuestionAnswering
from tests.tasks.batches import make_batch, make_task

CONTEXT = "bcdefghijklmnopq"


def qa(**arguments: Any) -> QuestionAnswering:
    task = make_task("questions", **arguments).eval()
    assert isinstance(task, QuestionAnswering)
    return task


@torch.no_grad()
def test_best_spans_match_brute_force() -> None:
    task = qa(max_answer_tokens=3, n_best=6)
    batch = make_batch("questions", (12, 9, 11))
    starts, ends = task._logits(batch)
    found = task._answers(batch, starts, ends)
    for row, answers in enumerate(found):
        context = batch["context_mask"][row]
        spans = []
        for first, last in itertools.product(range(len(context)), repeat=2):
            if context[first] and context[last] and 0 <= last - first < 3:
                start, end = int(batch["offsets"][row, first, 0]), int(batch["offsets"][row, last, 1])
                spans.append((float(starts[row, first] + ends[row, last]), start, end))
        expected = sorted(spans, reverse=True)[:6]
        assert [(span.start, span.end) for span in answers.spans] == [(start, end) for _, start, end in expected]
        assert [span.score for span in answers.spans] == pytest.approx([score for score, _, _ in expected])
        null = batch["null_positions"][row]
        assert answers.null_score == pytest.approx(float(starts[row, null] + ends[row, null]))


@torch.no_grad()
def test_windows_of_a_question_are_merged() -> None:
    """Take the best spans of all windows and the lowest of their null scores."""
    task = qa(n_best=50)
    batch = make_batch("questions", (10, 10, 10))
    separate = task._answers(batch, *task._logits(batch))
    one_question = batch | {name: batch[name][:1] for name in ("ids", "questions", "contexts", "answers")}
    one_question["examples"] = torch.tensor([0, 0, -1])
    (merged,) = task._answers(one_question, *task._logits(one_question))
    assert merged.null_score == min(separate[0].null_score, separate[1].null_score)
    expected: dict[tuple[int, int], float] = {}
    for span in [*separate[0].spans, *separate[1].spans]:
        expected[span[1:]] = max(span.score, expected.get(span[1:], -1e30))
    assert {span[1:]: span.score for span in merged.spans} == expected, "a span in both windows counts once"
    task.step(one_question | {"answers": [["b"]]}, "val")
    assert task.val_metrics.compute()["answer_f1"].numel() == 1


@torch.no_grad()
def test_predictions_follow_the_threshold() -> None:
    task = qa()
    batch = make_batch("questions", (10, 8))
    records = task.predict_step(batch, 0)
    # Without a threshold, every question gets an answer.
    assert all(record["answer"] == record["n_best"][0]["text"] for record in records)
    scores = [answers.no_answer_score for answers in task._answers(batch, *task._logits(batch))]
    task.no_answer_threshold = max(scores)
    answered = [record["answer"] != "" for record in task.predict_step(batch, 0)]
    assert answered == [score < max(scores) for score in scores]
    task.no_answer_threshold = -math.inf
    assert not any(record["answer"] for record in task.predict_step(batch, 0))
    for record in records:
        scores_of_record = [candidate["score"] for candidate in record["n_best"]]
        assert sum(scores_of_record) + record["no_answer_score"] == pytest.approx(1.0)
        for candidate in record["n_best"]:
            assert CONTEXT[candidate["start"] : candidate["end"]] == candidate["text"]


@torch.no_grad()
def test_threshold_is_chosen_in_validation_and_used_in_the_test() -> None:
    task = qa()
    batch = make_batch("questions", (10, 8, 12, 9, 11))
    task.step(batch, "val")
    values = task.val_metrics.compute()
    chosen = float(values["no_answer_threshold"])
    task.no_answer_threshold = chosen
    task.on_test_epoch_start()
    task.step(batch, "test")
    tested = task.test_metrics.compute()
    assert float(tested["no_answer_threshold"]) == chosen
    for name in ("answer_f1", "exact_match", "unanswerable_accuracy"):
        assert tested[name] == values[name]
    # The metric and ``predict_step`` leave the same questions unanswered.
    records = task.predict_step(batch, 0)
    unanswerable = [
        record["answer"] == "" for record, golds in zip(records, batch["answers"], strict=True) if not golds
    ]
    assert sum(unanswerable) / len(unanswerable) == pytest.approx(float(tested["unanswerable_accuracy"]))


@torch.no_grad()
def test_padding_windows_are_ignored() -> None:
    task = qa()
    batch = make_batch("questions", (10, 8))
    padded = batch | {name: batch[name][:1] for name in ("ids", "questions", "contexts", "answers")}
    padded["examples"] = torch.tensor([0, -1])
    padded["start_positions"] = torch.tensor([5, IGNORE_INDEX])
    padded["end_positions"] = torch.tensor([5, IGNORE_INDEX])
    assert len(task.predict_step(padded, 0)) == 1
    assert int(task.weight(padded)) == 1


@torch.no_grad()
def test_context_without_spans_has_no_answer() -> None:
    """Predict no answer for a context of whitespace; evaluate NaN logits without an exception."""
    task = qa()
    batch = make_batch("questions", (10, 8))
    blank = batch | {"context_mask": torch.zeros_like(batch["context_mask"])}
    assert [record["answer"] for record in task.predict_step(blank, 0)] == ["", ""]
    task.head.weight.fill_(torch.nan)  # type: ignore[operator]
    assert task.step(batch, "val").isnan()
    assert task.val_metrics.compute()["loss"].isnan()


@torch.no_grad()
def test_evaluation_splits_windows_into_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    task = qa()
    batch = make_batch("questions", (10, 8, 12, 9, 11))
    expected = task.predict_step(batch, 0)
    seen = []
    task.backbone.register_forward_pre_hook(lambda _, arguments: seen.append(len(arguments[0])))
    monkeypatch.setattr("gpt_lightning.tasks.base.EVAL_CHUNK_ROWS", 2)
    records = task.predict_step(batch, 0)
    assert seen == [2, 2, 1]
    assert [record["answer"] for record in records] == [record["answer"] for record in expected]


def test_threshold_keeps_its_precision_in_a_bfloat16_model() -> None:
    task = qa()
    task.no_answer_threshold = 19.03125
    again = qa().to(torch.bfloat16)
    again.load_state_dict(task.to(torch.bfloat16).state_dict())
    assert again.no_answer_threshold == 19.03125
