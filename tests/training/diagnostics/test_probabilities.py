"""Curves and hyper-parameters in the loggers and in the report."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gpt_lightning.evaluation.run_report import history
from gpt_lightning.training.diagnostics.curve_image import draw_curve
from gpt_lightning.training.diagnostics.hparams import flatten
from tests.heads import TAGS, TOPICS, CommandLine


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def test_diagnostics_of_a_classifier(cli: CommandLine) -> None:
    run = cli.fit("topics")
    events = EventAccumulator(str(run))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        events.Reload()
    tags = events.Tags()
    for name in ("precision_recall", "reliability"):
        assert [image.step for image in events.Images(f"val_curves/{name}")] == [2, 4]
    assert "val_curves/expected_calibration_error" in tags["scalars"]
    final = {tag: value for tag, value in history.read(run).final_scalars().items() if tag.startswith("val/")}
    for tag, value in final.items():
        (event,) = events.Scalars(tag.replace("val/", "val_final/"))
        assert (event.step, event.value) == (4, pytest.approx(value))
    assert "_hparams_/session_start_info" in events.summary_metadata
    validation = json.loads((run / "report.json").read_text())["validation"]
    assert sum(count for *_, count in validation["reliability"]) == len(TOPICS)
    accuracy = sum(share * count for _, share, count in validation["reliability"]) / len(TOPICS)
    assert accuracy == pytest.approx(final["val/accuracy"])
    assert validation["precision_recall"][-1][0] == 1.0
    assert "Reliability of the validation data" in (run / "report.html").read_text()


def test_diagnostics_of_a_tagger_count_every_word_and_csv_has_hparams(cli: CommandLine) -> None:
    run = cli.fit("tags", "--trainer.logger=CSVLogger")
    validation = json.loads((run / "report.json").read_text())["validation"]
    assert sum(count for *_, count in validation["reliability"]) == sum(len(tags) for _, tags in TAGS)
    assert "model.optimizer.lr: 0.01" in (run / "hparams.yaml").read_text()


def test_diagnostics_can_be_turned_off(cli: CommandLine) -> None:
    run = cli.fit("topics", "--diagnostics=false")
    groups = {tag.partition("/")[0] for tag in history.read(run).scalars}
    assert groups == {"train", "val", "weight_update", "workload", "x_axis"}


def test_a_curve_is_drawn_through_its_points() -> None:
    image = draw_curve([(0.0, 0.0), (0.5, 1.0), (1.0, 0.0)], "title", "x", "y", has_diagonal=False)
    is_line = (image == (31, 111, 181)).all(-1)
    heights = [np.flatnonzero(is_line[:, x]).mean() for x in (46 + 70, 46 + 140, 46 + 210)]
    assert heights == pytest.approx([162, 28, 162], abs=4)


def test_hyper_parameters_are_flat() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1], "e": None}) == {"a.b": 1, "a.c": "{}", "d": "[1]", "e": "None"}
