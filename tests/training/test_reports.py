"""Confusion matrices, per-class tables and hardest examples in TensorBoard."""

import html
import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gpt_lightning.tasks.error_examples import escape
from gpt_lightning.training.reports import class_table, example_list
from tests.heads import HOSTILE, ODD_LABEL, CommandLine


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def rendered_by_tensorboard(markdown: str) -> str:
    """Return TensorBoard's HTML of Markdown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from its dependencies
        from tensorboard.plugin_util import markdown_to_safe_html
    page: str = markdown_to_safe_html(markdown)
    return page


def events_of(run: Path) -> Any:
    events = EventAccumulator(str(run))
    events.Reload()
    return events


def texts(events: Any, tag: str) -> list[tuple[int, str]]:
    """Return the step and the Markdown of each text."""
    return [(event.step, event.tensor_proto.string_val[0].decode()) for event in events.Tensors(f"{tag}/text_summary")]


def visible(rendered: str) -> str:
    """Return the visible text of HTML without whitespace."""
    return "".join(html.unescape(re.sub(r"<[^>]*>", "", rendered)).split())


def test_classification_logs_matrix_table_and_examples(cli: CommandLine) -> None:
    run = cli.fit("topics", "--trainer.num_sanity_val_steps=2")
    events = events_of(run)
    images = events.Images("val/confusion_matrix")
    assert [image.step for image in images] == [2, 4], "not in the sanity check"
    picture = np.asarray(Image.open(io.BytesIO(images[-1].encoded_image_string)))
    assert picture.shape == (images[-1].height, images[-1].width, 3)
    assert 100 < images[-1].height < 600

    step, table = texts(events, "val/per_class")[-1]
    assert step == 4
    rendered = rendered_by_tensorboard(table)
    assert rendered.count("<tr>") == 1 + 3, "a header and three classes"
    assert rendered.count("<td") == 3 * 5
    assert ODD_LABEL in visible(rendered)

    accuracies = [event.value for event in events.Scalars("val/accuracy")]
    pages = texts(events, "val/hardest_examples")
    assert [step for step, _ in pages] == [2, 4]
    for accuracy, (_, page) in zip(accuracies, pages, strict=True):
        assert (wrong := round(7 * (1 - accuracy))) > 0, "the tiny model has not learned the task"
        rendered = rendered_by_tensorboard(page)
        assert rendered.count("<li>") == wrong, "only the examples of this validation"
        assert rendered.count("<ol>") == 1
        assert not re.search("<(a|script|h1|code|del)[ >]", rendered)
    # The odd label has one row of seven, and the model never predicts it.
    assert "".join(HOSTILE.split()) in visible(rendered)


def test_tagging_logs_no_matrix(cli: CommandLine) -> None:
    events = events_of(cli.fit("tags"))
    assert "val/confusion_matrix" not in events.Tags()["images"]
    (_, first), (_, last) = texts(events, "val/per_class")
    assert [line.split(" | ")[0] for line in last.splitlines()[2:]] == ["| LOC", "| PER"]
    assert [line.split(" | ")[-1] for line in first.splitlines()[2:]] == ["2 |", "2 |"]
    (_, page) = texts(events, "val/hardest_examples")[-1]
    assert page.startswith("1. (w")


def test_without_a_logger_no_events_are_written(cli: CommandLine) -> None:
    cli.fit("topics", "--trainer.logger=false")
    assert not list(Path().glob("**/events*"))


def test_hostile_class_names_stay_in_their_cells() -> None:
    rendered = rendered_by_tensorboard(class_table(torch.tensor([[0.5, 0.25, 0.3333, 4.0]]), [HOSTILE]))
    assert rendered.count("<td") == 5
    assert "<script" not in rendered
    assert "".join(HOSTILE.split()) in visible(rendered)
    assert "0.5000" in rendered
    assert ">4<" in rendered


def test_hardest_examples_are_a_numbered_list() -> None:
    assert example_list([], 1) == "No errors."
    rendered = rendered_by_tensorboard(example_list([escape(HOSTILE), "b"], 2))
    assert "first of 2 devices" in rendered
    assert rendered.count("<li>") == 2
