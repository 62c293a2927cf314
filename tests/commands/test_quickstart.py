"""A short run of the quickstart."""

from functools import partial
from pathlib import Path

import pytest

from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.cli import main
from gpt_lightning.commands import quickstart
from gpt_lightning.tasks.load import find_checkpoint
from gpt_lightning.toy_world.write import SPLITS, write


def test_quickstart_ends_with_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two steps of pretraining on a small world, and one epoch of one head from scratch and pretrained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # monkeypatch restores it after the test
    monkeypatch.setattr(quickstart, "TASKS", {"classification": "accuracy"})
    few = {split: 300 if split.startswith("text") else 60 for split in SPLITS}
    monkeypatch.setattr("gpt_lightning.toy_world.write.write", partial(write, counts=few))
    assert main(["quickstart", "--max_steps=2", "--max_epochs=1"]) == 0
    out = capsys.readouterr().out
    assert "validation loss" in out
    assert "A sample:" in out
    row = out[out.index("| task | metric | from scratch | pretrained |") :].splitlines()[2]
    name, metric, scratch, pretrained = (cell.strip() for cell in row.strip("|").split("|"))
    assert (name, metric) == ("classification", "accuracy")
    assert 0.0 <= float(scratch) <= 1.0
    assert 0.0 <= float(pretrained) <= 1.0
    backbone, *heads = (
        read_checkpoint(find_checkpoint(str(tmp_path / "logs" / run), "last"))
        for run in (
            "pretrain_toy_world/pretrain",
            "toy_world_classification/from_scratch",
            "toy_world_classification/pretrained",
        )
    )
    assert [head["tokenizer"] for head in heads] == [backbone["tokenizer"]] * 2, "only the weights differ"


def test_a_second_quickstart_finds_names_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert quickstart.free_name("toy", "pretrain") == "pretrain"
    (tmp_path / "logs/toy/pretrain").mkdir(parents=True)
    assert quickstart.free_name("toy", "pretrain") == "pretrain_2"
    (tmp_path / "logs/toy/pretrain_2").mkdir()
    assert quickstart.free_name("toy", "pretrain") == "pretrain_3"
