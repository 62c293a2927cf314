"""``SequenceRegression`` and ``TextRegression``: loss, unit of the targets, invalid rows, and every command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gpt_lightning as gl
from gpt_lightning.data import TextRegression
from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig
from gpt_lightning.tasks import SequenceRegression
from gpt_lightning.tasks.load import load_task
from tests.commands.run.test_cli import Run, run
from tests.data.drive import batches, write_rows

__all__ = ["run"]

CONFIG = Path(__file__).parents[2] / "configs/toy_world_liking.yaml"
PRICES = [1000.0 + 50.0 * number for number in range(12)]
ROWS = [{"id": f"r{number}", "text": f"{'a' * number} house", "price": price} for number, price in enumerate(PRICES)]


def test_loss_is_the_mean_squared_error_of_standardized_targets() -> None:
    shape = GPTConfig(vocab_size=9, n_layer=1, n_head=2, n_embd=12)
    task = SequenceRegression(backbone=shape, target_mean=10.0, target_std=4.0).double().eval().requires_grad_(False)
    torch.nn.init.normal_(task.head.weight)  # type: ignore[arg-type]
    batch: dict[str, Any] = {
        "input_ids": torch.tensor([[1, 2], [3, 0], [4, 5]]),
        "attention_mask": torch.tensor([[True, True], [True, False], [True, True]]),
        "labels": torch.tensor([18.0, 2.0, torch.nan]),
        "ids": ["a", "b"],
        "texts": ["a", "b"],
    }
    first, second, _ = task(batch["input_ids"], batch["attention_mask"]).tolist()
    expected = ((first - 2.0) ** 2 + (second + 2.0) ** 2) / 2
    assert float(task.step(batch, "val")) == pytest.approx(expected, rel=1e-6)
    assert int(task.weight(batch)) == 2
    values = [record["value"] for record in task.predict_step(batch, 0)]
    assert values == pytest.approx([10.0 + 4.0 * first, 10.0 + 4.0 * second], abs=1e-5)
    errors = np.array(values) - [18.0, 2.0]
    assert float(task.val_metrics.compute()["mse"]) == pytest.approx((errors**2).mean(), rel=1e-6)


def module(path: str, **arguments: Any) -> TextRegression:
    return TextRegression(train=path, test=path, tokenizer="bytes", batch_size=5, block_size=16, **arguments)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_numbers_are_read_from_every_format(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    numbers = [1.5, -2.0, 3e2, 0.0, 7.0, -100.0]
    if kind == "csv":
        path.write_text("text,label\n" + "".join(f"t,{number}\n" for number in numbers))
    else:
        write_rows(path, [{"text": "t", "label": number} for number in numbers])
    data = module(str(path), cache_dir=str(tmp_path))
    assert [value for batch in batches(data, "test") for value in batch["labels"].tolist()] == numbers
    assert data.target_mean_and_std() == pytest.approx((np.mean(numbers), np.std(numbers)))
    data = module(str(path), cache_dir=str(tmp_path))
    assert all(batch["labels"].isnan().all() for batch in batches(data, "predict"))


@pytest.mark.parametrize("value", ["high", True, "", "nan", "inf", [1.0], "3,5", 1e300, 10**400])
def test_a_value_that_is_no_number_is_refused(tmp_path: Path, value: object) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"text": "t", "label": value}])
    with pytest.raises(InputError, match=r"a\.jsonl:1: column 'label' is .*, not a finite number; fix this row"):
        batches(module(path, cache_dir=str(tmp_path)), "fit")


def test_every_command(run: Run, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    data = [f"--data.{split}=rows.jsonl" for split in ("train", "validation", "test")]
    small = ["--model.backbone.n_layer=1", "--data.tokenizer=bytes", "--data.cache_dir=cache"]
    common = ["-c", str(CONFIG), *data, *small, "--trainer.accelerator=cpu", "--data.label_column=price"]
    folder = "logs/toy_world_liking/version_0"
    for steps in (2, 4):
        assert run("fit", *common, f"--trainer.max_steps={steps}", "--resume=auto", "--model.optimizer.lr=0.01")[0] == 0
    assert run("evaluate", folder, "--test=rows.jsonl")[0] == 0
    measured = json.loads((tmp_path / folder / "metrics.json").read_text())["metrics"]
    assert run("predict", "--model", folder, "--input", "rows.jsonl", "--output", "p.jsonl")[0] == 0
    predicted = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    errors = np.array([row["value"] for row in predicted]) - PRICES
    assert measured["mse"] == pytest.approx((errors**2).mean(), rel=1e-4)
    assert abs(np.mean([row["value"] for row in predicted]) - np.mean(PRICES)) < 1000, "in the unit of the targets"
    assert run("export", folder, "exported")[0] == 0
    model = gl.load(tmp_path / "exported")
    again = model.predict([{"text": row["text"]} for row in ROWS])
    assert [row["value"] for row in again] == pytest.approx([row["value"] for row in predicted], rel=1e-5)
    # A run on more rows continues the head with its unit, although the new targets have another mean.
    write_rows(tmp_path / "more.jsonl", [*ROWS, {"text": "palace", "price": 1e6}])
    flags = ["--data.train=more.jsonl", "--trainer.max_steps=1", "--model.optimizer.lr=1e-9", "--name=more"]
    assert run("fit", *common, f"--model.init_from={folder}", *flags)[0] == 0
    old, new = (
        load_task(next((tmp_path / run / "checkpoints").glob("*.ckpt")))[0]
        for run in (folder, "logs/toy_world_liking/more")
    )
    assert isinstance(old, SequenceRegression)
    assert isinstance(new, SequenceRegression)
    assert (
        (new.target_mean, new.target_std)
        == (old.target_mean, old.target_std)
        == pytest.approx((1275.0, np.std(PRICES)))
    )
