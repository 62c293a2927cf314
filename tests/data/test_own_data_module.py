"""Data modules outside the package: subclasses with the documented hooks, and a plain LightningDataModule."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from gpt_lightning.batch import LanguageModelingBatch
from gpt_lightning.data.base import DataModule, Split
from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig
from gpt_lightning.optim import OptimizerConfig, Schedule
from gpt_lightning.tasks import SequenceClassification
from tests.data.drive import write_rows
from tests.data.text_pairs import TextPairs
from tests.runs import causal_lm, trainer

PAIRS = [
    {"premise": f"{number} birds sing", "hypothesis": "a bird sings" if number % 2 else "no bird sings"}
    | {"label": "yes" if number % 2 else "no"}
    for number in range(12)
]


def text_pairs(folder: Path, **arguments: Any) -> TextPairs:
    path = write_rows(folder / "pairs.jsonl", PAIRS)
    defaults: dict[str, Any] = {"tokenizer": "bpe:300", "block_size": 64, "batch_size": 4, "seed": 0}
    return TextPairs(train=path, validation=path, test=path, cache_dir=str(folder / "cache"), **(defaults | arguments))


def classifier(data: TextPairs) -> SequenceClassification:
    L.seed_everything(0, verbose=False)
    backbone = GPTConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=data.vocab_size, block_size=data.block_size)
    return SequenceClassification(
        backbone=backbone, labels=data.labels, optimizer=OptimizerConfig(lr=3e-2), schedule=Schedule(kind="constant")
    )


def test_a_subclass_trains_tests_and_predicts(tmp_path: Path) -> None:
    data = text_pairs(tmp_path)
    task = classifier(data)
    run = trainer(tmp_path, max_epochs=15)
    run.fit(task, datamodule=data)
    run.test(task, datamodule=data, verbose=False)
    assert float(run.callback_metrics["test/accuracy"]) == 1
    predictions = run.predict(task, datamodule=data)
    assert predictions is not None
    assert data.labels == ["no", "yes"]


def test_prediction_needs_no_labels(tmp_path: Path) -> None:
    rows = [{"premise": "a", "hypothesis": "b"}]
    data = text_pairs(tmp_path)
    data.sources["test"] = write_rows(tmp_path / "test.jsonl", rows)
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert batch["texts"] == ["a\nb"]
    with pytest.raises(InputError, match=r"test\.jsonl:1: there is no column 'label'"):
        data.setup("test")


def test_labels_of_a_checkpoint_determine_the_numbers(tmp_path: Path) -> None:
    data = text_pairs(tmp_path, labels=["yes", "no"])
    data.setup("test")
    labels = {
        row: label
        for batch in data.test_dataloader()
        for row, label in zip(batch["ids"], batch["labels"].tolist(), strict=True)
    }
    assert labels == {str(number): 1 - number % 2 for number in range(12)}
    data = text_pairs(tmp_path, labels=["yes", "nope"])
    with pytest.raises(InputError, match=r"pairs\.jsonl:1: the label 'no' is not one of the 2 labels of the model"):
        data.setup("test")


def test_its_arguments_become_flags_with_help_and_defaults() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(TextPairs, "data")
    actions = {action.dest: action for action in parser._actions if action.dest.startswith("data.")}
    assert {"data.first_column", "data.on_bad_row", "data.tokenizer", "data.batch_size"} < set(actions)
    assert all(action.help for action in actions.values())
    parsed = parser.parse_args(["--data.first_column=a", "--data.num_workers=2"]).data
    assert (parsed.first_column, parsed.num_workers, parsed.batch_size) == ("a", 2, 16)


def test_another_text_trains_another_tokenizer(tmp_path: Path) -> None:
    """The cache key is a hash of the texts, so a subclass cannot forget an argument that affects them."""
    first = text_pairs(tmp_path, tokenizer="characters").tokenizer
    assert text_pairs(tmp_path, tokenizer="characters").tokenizer.hash == first.hash
    assert len(list((tmp_path / "cache" / "tokenizers").glob("*.json"))) == 1
    other = text_pairs(tmp_path, tokenizer="characters", first_column="label").tokenizer
    assert other.hash != first.hash


class Counting:
    """Minimal implementation of ``loader.Rows``: rows of consecutive numbers."""

    digest = "counting"

    def __len__(self) -> int:
        return 6

    def batch(self, epoch: int, indices: NDArray[np.int64], num_padding: int) -> LanguageModelingBatch:
        first = torch.tensor([*indices.tolist(), *[0] * num_padding])[:, None]
        numbers = first + torch.arange(9)
        labels = numbers[:, 1:].clone()
        labels[len(indices) :] = -100
        num_bytes = (labels != -100).sum(dim=1)
        return LanguageModelingBatch(input_ids=numbers[:, :-1], labels=labels, num_bytes=num_bytes)


class Numbers(DataModule):
    """Minimal subclass of ``DataModule``, which reads no files."""

    batch: ClassVar[type] = LanguageModelingBatch

    def open_split(self, split: Split) -> Counting:
        return Counting()

    def training_texts(self) -> Iterator[str]:
        yield "0123456789"


def test_two_hooks_suffice(tmp_path: Path) -> None:
    data = Numbers(train="-", validation="-", tokenizer="bytes", block_size=8, batch_size=4)
    run = trainer(tmp_path, max_epochs=2)
    run.fit(causal_lm(), datamodule=data)
    assert run.global_step == 4
    assert float(run.callback_metrics["val/loss"]) > 0


class PlainDataModule(L.LightningDataModule):
    """Data module without our base class and without a tokenizer."""

    def train_dataloader(self) -> DataLoader[Any]:
        rows = Counting()
        return DataLoader([rows.batch(0, np.array([row]), 0) for row in range(6)], batch_size=None)  # type: ignore[arg-type]

    val_dataloader = train_dataloader


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_a_plain_data_module_trains(tmp_path: Path) -> None:
    run = trainer(tmp_path, max_epochs=1)
    run.fit(causal_lm(), datamodule=PlainDataModule())
    assert run.global_step == 6
