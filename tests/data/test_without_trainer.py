"""Data modules without a Trainer yield the batches that a Trainer would read."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor

from gpt_lightning.data import TextClassification
from gpt_lightning.data.base import DataModule
from gpt_lightning.errors import InputError
from tests.data.drive import write_rows
from tests.runs import head, language_modeling, trainer, write_text


class Recorder(L.LightningModule):
    """Module that records every batch by stage."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches: dict[str, list[Any]] = {"train": [], "validation": [], "test": [], "predict": []}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.batches["train"].append(batch)
        return self.weight.square()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.batches["validation"].append(batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.batches["test"].append(batch)

    def predict_step(self, batch: Any, batch_idx: int) -> list[str]:
        self.batches["predict"].append(batch)
        ids: list[str] = batch["ids"]
        return ids

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def make_language_modeling(folder: Path) -> DataModule:
    return language_modeling(folder, test=str(write_text(folder)))


def make_head(folder: Path, kind: str) -> DataModule:
    return head(folder, kind)[1]


MODULES: dict[str, Callable[[Path], DataModule]] = {
    "LanguageModeling": make_language_modeling,
    "TextClassification": partial(make_head, kind="classification"),
    "SequenceTagging": partial(make_head, kind="ner"),
    "ReadingComprehension": partial(make_head, kind="qa"),
}


def as_lists(batches: Iterable[Any]) -> list[dict[str, Any]]:
    """Return batches with lists in place of tensors, so that they can be compared."""
    return [
        {name: value.tolist() if isinstance(value, Tensor) else value for name, value in batch.items()}
        for batch in batches
    ]


def read_by_trainer(data: DataModule, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the batches of one epoch of training, a validation, a test and a prediction."""
    recorder = Recorder()
    run = trainer(folder, max_epochs=1, callbacks=[])
    run.fit(recorder, datamodule=data)
    found = {name: as_lists(recorder.batches[name]) for name in ("train", "validation")}
    recorder.batches["validation"] = []
    run.validate(recorder, datamodule=data, verbose=False)
    assert as_lists(recorder.batches["validation"]) == found["validation"]
    run.test(recorder, datamodule=data, verbose=False)
    run.predict(recorder, datamodule=data, return_predictions=False)
    return found | {name: as_lists(recorder.batches[name]) for name in ("test", "predict")}


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("name", MODULES)
def test_batches_equal_those_of_a_trainer(tmp_path: Path, name: str, num_workers: int) -> None:
    expected = read_by_trainer(MODULES[name](tmp_path), tmp_path)
    assert all(len(batches) > 1 for batches in expected.values())
    data = MODULES[name](tmp_path)
    data.num_workers = num_workers
    data.prepare_data()
    data.setup("fit")
    assert as_lists(data.train_dataloader()) == expected["train"]
    assert as_lists(data.val_dataloader()) == expected["validation"]
    data.setup("validate")
    assert as_lists(data.val_dataloader()) == expected["validation"]
    data.setup("test")
    assert as_lists(data.test_dataloader()) == expected["test"]
    data.setup("predict")
    assert as_lists(data.predict_dataloader()) == expected["predict"]


@pytest.mark.parametrize("name", MODULES)
def test_each_iteration_yields_epoch_0(tmp_path: Path, name: str) -> None:
    data = MODULES[name](tmp_path)
    data.setup("fit")
    loader = data.train_dataloader()
    first = as_lists(loader)
    assert next(iter(loader))["ids"] == first[0]["ids"]
    assert as_lists(loader) == as_lists(data.train_dataloader()) == first


def test_after_a_run_training_batches_start_at_epoch_0_again(tmp_path: Path) -> None:
    data = MODULES["TextClassification"](tmp_path)
    expected = read_by_trainer(data, tmp_path)["train"]
    data.setup("fit")
    assert data.trainer is not None
    assert as_lists(data.train_dataloader()) == expected


def test_prepare_data_is_optional(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"text": text, "label": text[0]} for text in ("ab", "ba")])
    data = TextClassification(train=path, tokenizer="characters", cache_dir=str(tmp_path / "cache"))
    data.setup("fit")
    assert sorted(next(iter(data.train_dataloader()))["ids"]) == ["0", "1"]
    assert data.val_dataloader() == []


def test_prediction_without_a_trainer_needs_no_labels(tmp_path: Path) -> None:
    train = write_rows(tmp_path / "train.jsonl", [{"text": "a", "label": "x"}])
    test = write_rows(tmp_path / "test.jsonl", [{"text": "long text"}, {"text": "b"}])
    data = TextClassification(train=train, test=test, tokenizer="bytes")
    data.prepare_data()
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert batch["ids"] == ["0", "1"]
    data.setup("fit")
    assert next(iter(data.train_dataloader()))["labels"].tolist() == [0]
    with pytest.raises(InputError, match=r"test\.jsonl:1: there is no column 'label'"):
        data.setup("test")


def test_prepare_data_without_a_trainer_tokenizes_every_split_with_a_source(tmp_path: Path) -> None:
    text, test = write_text(tmp_path), tmp_path / "test.txt"
    test.write_text("another text\n")
    data = language_modeling(tmp_path, train=str(text), validation=None, test=str(test), tokenizer="characters")
    data.prepare_data()
    assert len(list((tmp_path / "cache").glob("tokenizers/*.json"))) == 1
    assert len(list((tmp_path / "cache").glob("tokens/*/*.tokens"))) == 2


@pytest.mark.parametrize("stage", ["", "train", "FIT"])
def test_an_unknown_stage_is_refused(tmp_path: Path, stage: str) -> None:
    message = f"setup(stage={stage!r}): the stage is unknown; choose one of fit, validate, test, predict"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        language_modeling(tmp_path).setup(stage)


def test_a_loader_needs_the_setup_of_its_stage(tmp_path: Path) -> None:
    data = MODULES["TextClassification"](tmp_path)
    with pytest.raises(InputError, match=r'^the train data is not loaded: call setup\("fit"\) first$'):
        data.train_dataloader()
    data.setup("test")
    with pytest.raises(InputError, match=r'^the test data is not loaded: call setup\("predict"\) first$'):
        data.predict_dataloader()
