"""Compatibility with a checkpoint of version 0.1, which names its task without a module."""

import json
import zipfile
from pathlib import Path

import pytest

import gpt_lightning as gl
from gpt_lightning.checkpoints.read import read_checkpoint

ARCHIVE = Path(__file__).with_name("written_by_0_1.zip")


def test_predictions_are_unchanged(tmp_path: Path) -> None:
    zipfile.ZipFile(ARCHIVE).extractall(tmp_path)
    saved = read_checkpoint(tmp_path / "classifier.ckpt")
    assert saved["hyper_parameters"]["task"] == "SequenceClassification"
    assert saved["data"] == "TextClassification"
    rows, expected = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("rows.jsonl", "predictions.jsonl")
    )
    found = gl.load(tmp_path / "classifier.ckpt", device="cpu").predict(rows)
    assert [row["label"] for row in found] == [row["label"] for row in expected]
    for row, expected_row in zip(found, expected, strict=True):
        assert row["scores"] == pytest.approx(expected_row["scores"], rel=1e-5)
