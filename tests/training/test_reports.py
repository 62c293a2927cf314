"""What TensorBoard shows of a head's errors."""

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
from gpt_lightning.training.reports import class_table, error_list
from tests.heads import HOSTILE, ODD_LABEL, CommandLine


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def rendered_by_tensorboard(markdown: str) -> str:
    """HTML, made by TensorBoard itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what it brings along
        from tensorboard.plugin_util import markdown_to_safe_html
    page: str = markdown_to_safe_html(markdown)
    return page


def events_of(run: Path) -> Any:
    events = EventAccumulator(str(run))
    events.Reload()
    return events


def texts(events: Any, tag: str) -> list[tuple[int, str]]:
    """Step and Markdown of each text."""
    return [(event.step, event.tensor_proto.string_val[0].decode()) for event in events.Tensors(f"{tag}/text_summary")]


def visible(rendered: str) -> str:
    """What a reader of HTML sees, blanks aside."""
    return "".join(html.unescape(re.sub(r"<[^>]*>", "", rendered)).split())


def test_topics(cli: CommandLine) -> None:
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
    assert rendered.count("<tr>") == 1 + 3, "a row for each of sport, weather and the odd one"
    assert rendered.count("<td") == 3 * 5
    assert ODD_LABEL in visible(rendered)

    accuracies = [event.value for event in events.Scalars("val/accuracy")]
    pages = texts(events, "val/worst_errors")
    assert [step for step, _ in pages] == [2, 4]
    for accuracy, (_, page) in zip(accuracies, pages, strict=True):
        assert (wrong := round(7 * (1 - accuracy))) > 0, "so small a model has learned nothing yet"
        rendered = rendered_by_tensorboard(page)
        assert rendered.count("<li>") == wrong, "those of this validation only"
        assert rendered.count("<ol>") == 1
        assert not re.search("<(a|script|h1|code|del)[ >]", rendered)
    # The odd label has one row of seven; nothing was ever taken for it.
    assert "".join(HOSTILE.split()) in visible(rendered)


def test_tags_have_no_matrix(cli: CommandLine) -> None:
    events = events_of(cli.fit("tags"))
    assert "val/confusion_matrix" not in events.Tags()["images"]
    (_, first), (_, last) = texts(events, "val/per_class")
    assert [line.split(" | ")[0] for line in last.splitlines()[2:]] == ["| LOC", "| PER"]
    assert [line.split(" | ")[-1] for line in first.splitlines()[2:]] == ["2 |", "2 |"]
    (_, page) = texts(events, "val/worst_errors")[-1]
    assert page.startswith("1. (w")


def test_nothing_to_report_without_a_board(cli: CommandLine) -> None:
    cli.fit("topics", "--trainer.logger=false")
    assert not list(Path().glob("**/events*"))


def test_hostile_class_names_stay_in_their_cells() -> None:
    rendered = rendered_by_tensorboard(class_table(torch.tensor([[0.5, 0.25, 0.3333, 4.0]]), [HOSTILE]))
    assert rendered.count("<td") == 5
    assert "<script" not in rendered
    assert "".join(HOSTILE.split()) in visible(rendered)
    assert "0.5000" in rendered
    assert ">4<" in rendered


def test_a_list_of_errors() -> None:
    assert error_list([], 1) == "No errors."
    rendered = rendered_by_tensorboard(error_list([escape(HOSTILE), "b"], 2))
    assert "first of 2 devices" in rendered
    assert rendered.count("<li>") == 2
