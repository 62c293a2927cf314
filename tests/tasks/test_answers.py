"""Generated answers in validation, test and prediction, compared with a plain greedy loop and sacrebleu."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import FSDPStrategy
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from gpt_lightning.api import Model
from gpt_lightning.data import InstructionTuning
from gpt_lightning.errors import InputError
from gpt_lightning.metrics.span import exact_match
from gpt_lightning.models.generation.generate import NonFiniteError
from gpt_lightning.tasks import CausalLM, answer_data
from gpt_lightning.tasks.answer_data import find_answer_data
from gpt_lightning.training import Checkpoints, Evaluation, Reports
from tests import answering
from tests.answering import BLOCK_SIZE, EXAMPLES
from tests.runs import trainer

NAMES = {"bleu", "chrf", "rouge1", "rouge2", "rougeL", "exact_match", "token_f1", "complete"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    """Return a model that answers some prompts correctly."""
    folder = tmp_path_factory.mktemp("trained")
    task = answering.task()
    trainer(folder, max_epochs=30, limit_val_batches=0).fit(task, datamodule=answering.data(folder))
    return task.eval()


def greedy(task: CausalLM, data: answering.Answering, prompt: str) -> tuple[str, bool]:
    """Return the answer to a prompt, and whether it is complete, from a full forward pass for each token."""
    ids = data._prompt(prompt)
    new: list[int] = []
    while len(new) < data.max_new_tokens:
        with torch.no_grad():
            token = int(task(torch.tensor([ids + new]))[0, -1].argmax())
        if token in data.stop_ids:
            return data.tokenizer.decode(new), True
        new.append(token)
    return data.tokenizer.decode(new), False


def scores(run: L.Trainer, stage: str) -> dict[str, float]:
    values = {name.removeprefix(f"{stage}/"): float(value) for name, value in run.callback_metrics.items()}
    return {name: value for name, value in values.items() if name in NAMES}


def expected(task: CausalLM, data: answering.Answering, rows: list[int]) -> dict[str, float]:
    examples = [EXAMPLES[row] for row in rows]
    found = [greedy(task, data, prompt) for prompt, _ in examples]
    texts, streams = [text for text, _ in found], list(zip(*(golds for _, golds in examples), strict=True))
    exact = [exact_match(text, golds) for text, (_, golds) in zip(texts, examples, strict=True)]
    return {
        "bleu": BLEU().corpus_score(texts, streams).score,
        "chrf": CHRF().corpus_score(texts, streams).score,
        "exact_match": sum(exact) / len(exact),
        "complete": sum(is_complete for _, is_complete in found) / len(found),
    }


@pytest.mark.parametrize("batch_size", [1, 4, 15])
@pytest.mark.parametrize("max_new_tokens", [3, 8])
def test_metrics_equal_those_of_a_plain_loop(
    trained: CausalLM, tmp_path: Path, batch_size: int, max_new_tokens: int
) -> None:
    data = answering.data(tmp_path, batch_size=batch_size, max_new_tokens=max_new_tokens, generate_examples=100)
    run = trainer(tmp_path)
    run.test(trained, datamodule=data, verbose=False)
    found = scores(run, "test")
    assert found.keys() == NAMES
    reference = expected(trained, data, list(range(15)))
    assert {name: found[name] for name in reference} == pytest.approx(reference, rel=1e-6)
    if max_new_tokens == 8:
        assert found["complete"] > 0.9, "the model has learned to stop"
        assert 0.0 < found["exact_match"] < 1.0, "some answers are correct"


def test_examples_are_spread_over_the_split_and_the_same_in_each_part(trained: CausalLM, tmp_path: Path) -> None:
    for limit, rows in ((1.0, [0, 3, 6, 9, 12]), (1, [0, 3, 6, 9])):
        data = answering.data(tmp_path, generate_examples=5)
        run = trainer(tmp_path, limit_val_batches=limit)
        run.validate(trained, datamodule=data, verbose=False)
        reference = expected(trained, data, rows)
        found = scores(run, "val")
        assert {name: found[name] for name in reference} == pytest.approx(reference, rel=1e-6)
        assert trained.tables["val"]["references"].tolist() == [len(rows), 2, 2]
        assert [example.id for example in trained.answer_examples] == [f"row {row}" for row in rows]


def test_without_examples_nothing_is_generated(
    trained: CausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained, "generate_answers", None)
    run = trainer(tmp_path)
    run.test(trained, datamodule=answering.data(tmp_path, generate_examples=0), verbose=False)
    assert {"test/loss", "test/perplexity", "test/bits_per_byte"} == run.callback_metrics.keys()
    assert not trained.answer_examples


def test_long_prompts_are_truncated_on_the_left(trained: CausalLM) -> None:
    ids = list(range(60, 60 + 50))
    settings: dict[str, Any] = {"max_new_tokens": 12, "stop_ids": (256,)}
    long, short = (trained.generate_answers({"prompts": [each]}, **settings) for each in (ids, ids[12 - BLOCK_SIZE :]))
    assert long == short
    with pytest.raises(InputError, match="exceed block_size=32"):
        trained.generate_answers({"prompts": [ids]}, max_new_tokens=BLOCK_SIZE, stop_ids=(256,))


def test_predictions_are_answers(trained: CausalLM, tmp_path: Path) -> None:
    data = answering.data(tmp_path, generate_examples=1)
    batches = trainer(tmp_path).predict(trained, datamodule=data)
    assert batches is not None
    records = [record for batch in batches for record in batch]
    for row, (record, (prompt, _)) in enumerate(zip(records, EXAMPLES, strict=True)):
        answer, is_complete = greedy(trained, data, prompt)
        assert record == {"id": f"row {row}", "prompt": prompt, "answer": answer, "complete": is_complete}


def test_the_python_api_answers_prompts(trained: CausalLM, tmp_path: Path) -> None:
    model = Model(trained, answering.data(tmp_path).tokenizer, tmp_path, InstructionTuning)
    rows = [{"prompt": "1 cats?"}, {"prompt": "2 dogs?", "completion": "2 d."}]
    records = model.predict(rows, chat_template="plain", max_new_tokens=8)
    assert [record["prompt"] for record in records] == ["1 cats?\n", "2 dogs?\n"]
    assert ["references" in record for record in records] == [False, True]
    assert {type(record["complete"]) for record in records} == {bool}
    assert all(record["answer"] for record in records)


def test_checkpoints_follow_a_metric_of_answers(tmp_path: Path) -> None:
    task = answering.task(dropout=0.1)
    checkpoints = Checkpoints(monitor="val/chrf", mode="max")
    run = trainer(
        tmp_path,
        max_epochs=2,
        num_sanity_val_steps=2,
        accumulate_grad_batches=3,
        logger=CSVLogger(tmp_path, "", ""),
        callbacks=[checkpoints, Reports()],
    )
    run.fit(task, datamodule=answering.data(tmp_path, generate_examples=6))
    assert checkpoints.best_score == pytest.approx(float(run.callback_metrics["val/chrf"])) or run.global_step > 2
    assert task.training
    pages = sorted((tmp_path / "media/sample/answer_0").iterdir())
    assert [page.name for page in pages] == ["step_2.md", "step_4.md"], "not in the sanity check"
    page = pages[-1].read_text()
    assert page.startswith("**source**\n\n0 cats?\n\n**reference**\n\n0 c.\n\n**reference**\n\ncats\n\n**answer")
    assert "answer_5" not in {each.name for each in (tmp_path / "media/sample").iterdir()}
    hardest = (tmp_path / "media/val/hardest_examples/step_4.md").read_text()
    assert "instead of **0 c\\. / cats** (row 0): 0 cats?" in hardest


def test_metrics_json_has_the_signatures(trained: CausalLM, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, path = answering.data(tmp_path, generate_examples=7), tmp_path / "model.ckpt"
    saving = trainer(tmp_path, max_epochs=0)
    saving.fit(trained, datamodule=data)
    saving.save_checkpoint(path, weights_only=True)
    run = trainer(tmp_path, callbacks=[Evaluation()])
    run.test(trained, datamodule=data, ckpt_path=str(path), verbose=False, weights_only=True)
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert record["metrics"].keys() == NAMES | {"loss", "perplexity", "bits_per_byte"}
    bleu = BLEU()
    bleu.corpus_score(["a"], [["a"], ["b"]])
    assert record["generation"]["examples"] == 7
    assert record["generation"]["signatures"]["bleu"] == str(bleu.get_signature())
    assert record["generation"]["signatures"].keys() == {"bleu", "chrf", "rouge"}
    out = capsys.readouterr().out
    assert "test/chrf" in out
    assert "source: 0 cats?\nreference: 0 c.\nreference: cats\nanswer" in out


def test_answers_do_not_depend_on_autocast(trained: CausalLM, tmp_path: Path) -> None:
    data = answering.data(tmp_path)
    plain, mixed = trainer(tmp_path), trainer(tmp_path, precision="bf16-mixed")
    for run in (plain, mixed):
        run.test(trained, datamodule=data, verbose=False)
    assert scores(mixed, "test") == scores(plain, "test")


def test_logits_that_are_not_finite_give_empty_answers_in_training_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, data = answering.task(), answering.data(tmp_path)
    with torch.no_grad():
        task.backbone.token_embedding.weight.fill_(math.nan)
    with pytest.raises(NonFiniteError, match="logits of the model are NaN"):
        trainer(tmp_path).test(task, datamodule=data, verbose=False)
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=0, num_sanity_val_steps=1)
    run.fit(task, datamodule=data)
    assert "the answers are empty in this evaluation" in capsys.readouterr().err


@torch.inference_mode()
def test_prompts_without_a_data_module_are_refused(trained: CausalLM, tmp_path: Path) -> None:
    data = answering.data(tmp_path)
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    trained.answer_data = None
    with pytest.raises(InputError, match=r"Give the data module to the Trainer, or set task\.answer_data"):
        trained.step(batch, "test")
    trained.answer_data = data
    trained.step(batch, "test")
    trained.test_metrics.reset()


def fake_trainer(**attributes: Any) -> Any:
    """Return a stand-in for a trainer of a data module that generates answers."""
    defaults = {"datamodule": SimpleNamespace(generate_examples=3), "callbacks": [], "is_global_zero": True}
    return SimpleNamespace(**{"strategy": None, **defaults, **attributes})


def test_sharding_strategies_are_refused() -> None:
    with pytest.raises(InputError, match=r"FSDPStrategy shards the model.*generate_examples=0"):
        find_answer_data(fake_trainer(strategy=FSDPStrategy()), "fit")
    data = SimpleNamespace(generate_examples=0)
    assert find_answer_data(fake_trainer(strategy=FSDPStrategy(), datamodule=data), "fit") is not None


def test_a_missing_sacrebleu_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(answer_data, "sacrebleu_scorers", lambda: None)
    with pytest.raises(InputError, match=r"Checkpoints monitors val/chrf, but sacrebleu is not installed"):
        find_answer_data(fake_trainer(callbacks=[Checkpoints(monitor="val/chrf")]), "fit")
    find_answer_data(fake_trainer(callbacks=[Checkpoints(monitor="val/rougeL")]), "fit")
    assert "pip install 'gpt-lightning[generation]'" in capsys.readouterr().out
