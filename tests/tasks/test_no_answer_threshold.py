"""Threshold for no answer: 0 until a validation with unanswerable questions has chosen one."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt_lightning.data import ReadingComprehension
from gpt_lightning.models import GPTConfig
from gpt_lightning.tasks import QuestionAnswering
from tests.data.drive import write_rows
from tests.runs import trainer

CONTEXT = "Anna moved to Oslo in 1999."
ANSWERED: dict[str, Any] = {"question": "Who?", "context": CONTEXT, "answers": [{"text": "Anna", "answer_start": 0}]}
UNANSWERED: dict[str, Any] = {"question": "Why?", "context": CONTEXT, "answers": []}
LINE = (
    "some training questions have no answer, but {}: the threshold for no answer stays 0. To choose it, hold out rows "
    "with --data.validation_fraction=0.1\n"
)


def task() -> QuestionAnswering:
    torch.manual_seed(0)
    backbone = GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=64, vocab_size=257)
    return QuestionAnswering(backbone=backbone)


def data(folder: Path, train: list[dict[str, Any]], validation: list[dict[str, Any]]) -> ReadingComprehension:
    paths: dict[str, Any] = {
        name: write_rows(folder / f"{name}.jsonl", rows)
        for name, rows in (("train", train), ("validation", validation))
        if rows
    }
    arguments: dict[str, Any] = {"tokenizer": "bytes", "block_size": 64, "stride": 8, "seed": 0, "batch_size": 2}
    return ReadingComprehension(**paths, test=paths["train"], cache_dir=str(folder), **arguments)


@pytest.mark.parametrize(
    ("train", "validation", "limit", "threshold", "reason"),
    [
        ([ANSWERED, UNANSWERED], [], 1.0, 0.0, "there are no validation rows"),
        ([ANSWERED, UNANSWERED], [ANSWERED, UNANSWERED], 0, 0.0, "there are no validation rows"),
        ([ANSWERED, UNANSWERED], [ANSWERED], 1.0, 0.0, "every validation question has one"),
        ([ANSWERED, UNANSWERED], [ANSWERED, UNANSWERED], 1.0, None, None),
        ([ANSWERED], [], 1.0, math.inf, None),
        ([ANSWERED], [ANSWERED], 1.0, math.inf, None),
    ],
)
def test_the_threshold_after_training(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    train: list[dict[str, Any]],
    validation: list[dict[str, Any]],
    limit: float,
    threshold: float | None,
    reason: str | None,
) -> None:
    module, model = data(tmp_path, train, validation), task()
    run = trainer(tmp_path, max_steps=2, limit_val_batches=limit)
    run.fit(model, datamodule=module)
    assert capsys.readouterr().out == ("" if reason is None else LINE.format(reason))
    if threshold is None:
        threshold = float(run.logged_metrics["val/no_answer_threshold"])
    assert model.no_answer_threshold == threshold


def test_the_first_validation_of_a_new_run_may_not_have_happened(tmp_path: Path) -> None:
    module, model = data(tmp_path, [ANSWERED, UNANSWERED], [ANSWERED, UNANSWERED]), task()
    run = trainer(tmp_path, max_steps=1, max_epochs=3, check_val_every_n_epoch=3, num_sanity_val_steps=1)
    run.fit(model, datamodule=module)
    assert model.no_answer_threshold == 0.0


def test_answers_at_0_follow_the_script_for_squad_2(tmp_path: Path) -> None:
    """Hugging Face's script answers "" if the null score exceeds the best span's by more than the threshold, 0."""
    rows = [{"question": f"Who is {number}?", "context": chr(97 + number), "answers": []} for number in range(20)]
    module, model = data(tmp_path, rows, []), task()
    run = trainer(tmp_path, max_steps=1)
    run.fit(model, datamodule=module)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.normal_(std=3.0)
    records = [record for batch in run.predict(model, datamodule=module) or [] for record in batch]
    assert len(records) == len(rows)
    for record in records:
        best = record["n_best"][0]
        expected = "" if math.log(record["no_answer_score"]) - math.log(best["score"]) > 0.0 else best["text"]
        assert record["answer"] == expected
    assert 0 < sum(record["answer"] == "" for record in records) < len(records)


def test_a_resumed_run_keeps_the_threshold(tmp_path: Path) -> None:
    rows = [ANSWERED, UNANSWERED]
    whole = task()
    trainer(tmp_path, max_steps=4).fit(whole, datamodule=data(tmp_path, rows, [ANSWERED]))
    part = trainer(tmp_path, max_steps=2)
    part.fit(task(), datamodule=data(tmp_path, rows, [ANSWERED]))
    part.save_checkpoint(tmp_path / "part.ckpt")
    resumed, run = task(), trainer(tmp_path, max_steps=4)
    run.fit(resumed, datamodule=data(tmp_path, rows, [ANSWERED]), ckpt_path=str(tmp_path / "part.ckpt"))
    assert resumed.no_answer_threshold == whole.no_answer_threshold == 0.0
    assert run.logged_metrics["val/no_answer_threshold"] == 0.0
