"""Configurations and checkpoints that monitor a metric by the name it had before version 0.2."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks import ModelCheckpoint as LightningCheckpoint

from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.errors import InputError
from gpt_lightning.metrics import (
    ClassificationMetrics,
    GenerationMetrics,
    MultiLabelMetrics,
    RegressionMetrics,
    SpanMetrics,
)
from gpt_lightning.metrics.direction import HIGHER_IS_BETTER, LOWER_IS_BETTER
from gpt_lightning.metrics.entity_f1 import EntityMetrics
from gpt_lightning.metrics.loss import TrainingLoss
from gpt_lightning.tasks import TokenClassification
from gpt_lightning.tasks.load import find_checkpoint
from gpt_lightning.tasks.tags import current_tag
from gpt_lightning.training import Checkpoints, Monitors
from tests.heads import CommandLine
from tests.runs import TINY, head, trainer
from tests.tasks.test_written_by_0_1 import ARCHIVE
from tests.training.test_reports import cli

__all__ = ["cli"]


@pytest.mark.parametrize(
    ("kind", "former", "tag"),
    [
        ("ner", "val/f1", "val/entity_f1"),
        ("ner", "test/accuracy", "test/token_accuracy"),
        ("qa", "val/f1", "val/answer_f1"),
        ("qa", "val/exact_match", "val/exact_match"),
        ("classification", "val/accuracy", "val/accuracy"),
        ("classification", "train/mfu", "workload/mfu"),
    ],
)
def test_former_tags_map_to_the_tags_of_the_task(tmp_path: Path, kind: str, former: str, tag: str) -> None:
    task, _ = head(tmp_path, kind)
    assert current_tag(former, task.former_names, task.metrics("val")) == tag


class Tagger(TokenClassification):
    """Subclass with the metrics of its base."""


class OwnF1(EntityMetrics):
    """Metric that computes a value of its own under a former name."""

    def compute(self) -> dict[str, torch.Tensor]:
        return super().compute() | {"f1": torch.tensor(0.5)}


def test_a_subclass_inherits_former_names_except_those_that_its_metric_computes() -> None:
    task = Tagger(backbone=TINY, vocab_size=257, labels=["O", "B-PER"])
    metric = task.metrics("val")
    assert current_tag("val/f1", task.former_names, metric) == "val/entity_f1"
    assert not metric.update_called
    own = OwnF1(["O", "B-PER"])
    assert current_tag("val/f1", task.former_names, own) == "val/f1"
    assert current_tag("val/recall", task.former_names, own) == "val/entity_recall"
    assert current_tag("val/f1", task.former_names, TrainingLoss()) == "val/f1", "it computes no entity_f1"


@pytest.mark.parametrize("kind", ["ner", "qa"])
def test_all_current_names_are_logged(tmp_path: Path, kind: str) -> None:
    task, data = head(tmp_path, kind)
    loop = trainer(tmp_path, max_steps=1, limit_val_batches=2, val_check_interval=1)
    loop.fit(task, datamodule=data)
    assert {f"val/{name}" for name in task.former_names.values()} <= loop.callback_metrics.keys()
    assert not {f"val/{name}" for name in task.former_names} & loop.callback_metrics.keys()


def test_a_yaml_with_a_former_name_trains_and_names_the_new_one(cli: CommandLine) -> None:
    run = cli.fit(
        "tags",
        "--checkpoints.monitor=val/f1",
        "--checkpoints.mode=max",
        "--trainer.callbacks+=EarlyStopping",
        "--trainer.callbacks.monitor=val/accuracy",
        "--trainer.callbacks.mode=max",
    )
    assert "Checkpoints: the metric val/f1 is now called val/entity_f1. Change its monitor" in cli.out
    assert "EarlyStopping: the metric val/accuracy is now called val/token_accuracy." in cli.out
    assert read_checkpoint(find_checkpoint(str(run), "last"))["callbacks"]["Checkpoints"]["monitor"] == "val/entity_f1"


def test_an_unknown_name_is_refused_with_the_names_to_choose_from(cli: CommandLine) -> None:
    with pytest.raises(AssertionError, match=r"--checkpoints\.monitor=val/f2 is not computed .*val/entity_f1"):
        cli.fit("tags", "--checkpoints.monitor=val/f2")
    stopping = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/f2")
    with pytest.raises(AssertionError, match=r"EarlyStopping: the metric val/f2 is not computed\. .*val/entity_f1"):
        cli.fit("tags", *stopping)


def fit(folder: Path, monitor: str, max_steps: int, ckpt_path: Path | None = None) -> tuple[EarlyStopping, Checkpoints]:
    """Train a tagger whose callbacks monitor the same metric."""
    stopping = EarlyStopping(monitor, mode="max", patience=100)
    checkpoints = Checkpoints(monitor, mode="max")
    folder.mkdir(exist_ok=True)
    task, data = head(folder, "ner")
    loop = trainer(
        folder,
        callbacks=[stopping, checkpoints, Monitors()],
        max_steps=max_steps,
        val_check_interval=1,
        check_val_every_n_epoch=None,
        limit_val_batches=1,
    )
    loop.fit(task, datamodule=data, ckpt_path=ckpt_path, weights_only=True)  # without a warning of unused states
    return stopping, checkpoints


def with_former_names(path: Path, target: Path) -> Path:
    """Copy a checkpoint in the form that older versions wrote."""
    checkpoint = torch.load(path, weights_only=True)
    states: dict[str, Any] = checkpoint["callbacks"]
    checkpoint["callbacks"] = {key.replace("val/entity_f1", "val/f1"): state for key, state in states.items()}
    for name in ("monitor", "mode"):
        del checkpoint["callbacks"]["Checkpoints"][name]
    torch.save(checkpoint, target)
    return target


@pytest.mark.parametrize("monitor", ["val/f1", "val/entity_f1"])
def test_callbacks_resume_from_the_state_of_a_former_name(tmp_path: Path, monitor: str) -> None:
    fit(tmp_path, "val/entity_f1", 3)
    old = with_former_names(find_checkpoint(str(tmp_path), "last"), tmp_path / "old.ckpt")
    saved = torch.load(old, weights_only=True)["callbacks"]
    assert any("'val/f1'" in key for key in saved)
    stopping, checkpoints = fit(tmp_path / "again", monitor, 4, old)
    count = next(state["wait_count"] for key, state in saved.items() if key.startswith("EarlyStopping"))
    assert count > 0, "the state differs from a new one"
    assert stopping.wait_count == count + 1
    assert checkpoints.monitor == stopping.monitor == "val/entity_f1"
    assert checkpoints.best_score == saved["Checkpoints"]["best_score"]


def test_the_best_score_of_another_metric_is_dropped() -> None:
    saved = Checkpoints("val/loss").state_dict() | {"best_score": 1.5, "best_step": 7}
    for monitor, mode, score in (("val/loss", "min", 1.5), ("val/accuracy", "max", None), ("val/loss", "max", None)):
        checkpoints = Checkpoints(monitor, mode=mode)  # type: ignore[arg-type]
        checkpoints.load_state_dict(saved)
        assert checkpoints.best_score == score


def test_a_run_of_version_0_1_resumes_and_is_tested(cli: CommandLine) -> None:
    zipfile.ZipFile(ARCHIVE).extractall()
    rows = [f"--data.{split}=rows.jsonl" for split in ("train", "validation", "test")]
    common = ("--ckpt_path=classifier.ckpt", *rows, "--trainer.accelerator=cpu", "--trainer.devices=1")
    assert cli("test", *common) == 0, cli.err
    assert "test/accuracy" in cli.out
    settings = ("--data.batch_size=2", "--trainer.max_steps=6", "--checkpoints.refuse_changes=false")
    assert cli("fit", *common, *settings, "--checkpoints.monitor=val/accuracy", "--checkpoints.mode=max") == 0, cli.err
    assert read_checkpoint(find_checkpoint("logs/default/version_0", "last"))["global_step"] == 6


def test_lightnings_model_checkpoint_follows_too(tmp_path: Path) -> None:
    callback = LightningCheckpoint(tmp_path / "kept", monitor="val/f1", mode="max")
    task, data = head(tmp_path, "ner")
    loop = trainer(tmp_path, callbacks=[callback, Monitors()], max_steps=1, val_check_interval=1)
    loop.fit(task, datamodule=data)
    assert callback.monitor == "val/entity_f1"
    assert callback.best_model_score is not None


def test_without_the_callback_the_error_names_the_new_name(tmp_path: Path) -> None:
    task, data = head(tmp_path, "ner")
    loop = trainer(tmp_path, callbacks=[Checkpoints("val/f1", mode="max")], max_steps=1, val_check_interval=1)
    with pytest.raises(InputError, match=r"monitor=val/f1 is not computed by this validation.*val/entity_f1"):
        loop.fit(task, datamodule=data)


def test_early_stopping_has_no_best_score_at_the_first_checkpoint(tmp_path: Path) -> None:
    """``EarlyStopping`` reads the metric after the checkpoint is written if each epoch has one validation."""
    task, data = head(tmp_path, "ner")
    callbacks = [Checkpoints(), EarlyStopping("val/loss")]
    trainer(tmp_path, callbacks=callbacks, max_epochs=1, limit_val_batches=1).fit(task, datamodule=data)
    states = read_checkpoint(find_checkpoint(str(tmp_path), "last"))["callbacks"]
    assert any(key.startswith("EarlyStopping") and state["best_score"].isinf() for key, state in states.items())


@pytest.mark.parametrize(
    ("callback", "remedy"),
    [
        (Checkpoints(monitor="val/accuracy", mode="min"), "--checkpoints.mode=max"),
        (Checkpoints(monitor="val/loss", mode="max"), "--checkpoints.mode=min"),
        (EarlyStopping("val/macro_f1", mode="min"), "EarlyStopping.mode=max"),
    ],
)
def test_a_mode_that_prefers_the_worst_value_is_refused(
    tmp_path: Path, callback: Checkpoints | EarlyStopping, remedy: str
) -> None:
    task, data = head(tmp_path, "classification")
    with pytest.raises(InputError, match=f"Set {remedy}$"):
        trainer(tmp_path, max_epochs=1, callbacks=[Monitors(), callback]).fit(task, data)


def test_the_direction_of_every_metric_is_known() -> None:
    half = torch.tensor(0.5)
    classes, tags, texts = ClassificationMetrics(2), EntityMetrics(["O", "B-PER"]), GenerationMetrics()
    multi_label, numbers, spans = MultiLabelMetrics(2, torch.full((2,), 0.5)), RegressionMetrics(), SpanMetrics()
    texts.add_texts(["a cat"], [True], [["a dog"]])
    computed = set[str]()
    numbers.update(half, torch.tensor(2), torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0]))
    for metric in (classes, tags, texts, multi_label, numbers, spans):
        metric.add_loss(half, torch.tensor(1))
        metric._update_count = 1
        computed |= {name for name, value in metric.compute().items() if value.ndim == 0}
    assert computed - LOWER_IS_BETTER - HIGHER_IS_BETTER == {"no_answer_threshold"}
    assert computed >= LOWER_IS_BETTER | HIGHER_IS_BETTER
