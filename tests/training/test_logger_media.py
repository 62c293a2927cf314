"""Text and images in every logger of a run."""

import csv
import html
import inspect
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger
from PIL import Image

from gpt_lightning.training import Reports, Samples
from gpt_lightning.training.logger_media import show_image, show_text, shows_images, shows_text, wrap_lines
from tests.commands.run.test_cli import CONFIG
from tests.heads import HOSTILE, CommandLine
from tests.runs import causal_lm, head, language_modeling, trainer, write_text
from tests.training.loggers import MLflowClientLike, MLflowLike, OtherSignature, Silent, Unreachable, WandbLike
from tests.training.test_reports import cli, events_of, rendered_by_tensorboard, visible

__all__ = ["cli"]

RUN = Path("logs/run/version_0")
FILES: Any = (("TensorBoardLogger", {}), ("CSVLogger", {}))
CURVES = {"val_curves/precision_recall", "val_curves/reliability"}
PIXELS = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)

Shown = dict[tuple[str, int], Any]
"""Tag and step of a text or an image -> the text or the pixels."""


@pytest.fixture(autouse=True)
def _clear_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WandbLike, "texts", [])
    monkeypatch.setattr(WandbLike, "images", [])
    monkeypatch.setattr(MLflowLike, "client", MLflowClientLike())


def fit(cli: CommandLine, name: str, loggers: Any, *arguments: str) -> None:
    """Train ``topics``, ``tags`` or a language model with loggers, given as class paths with arguments."""
    listed = [{"class_path": path, "init_args": settings} for path, settings in loggers]
    flags = (
        f"--config={json.dumps({'trainer': {'logger': listed}})}",
        "--experiment=run",
        "--allow_import=tests",
        *arguments,
    )
    if name == "language":
        write_text(cli.folder)
        (cli.folder / "language.yaml").write_text(CONFIG)
        assert cli("fit", "-c", "language.yaml", *flags) == 0, cli.err
    else:
        cli.fit(name, *flags)


def in_tensorboard(run: Path) -> tuple[Shown, Shown]:
    """Return the texts and images in the event files of a run."""
    events = events_of(run)
    tags = events.Tags()
    texts = {
        (tag.removesuffix("/text_summary"), event.step): event.tensor_proto.string_val[0].decode()
        for tag in tags["tensors"]
        for event in events.Tensors(tag)
    }
    images = {
        (tag, event.step): np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
        for tag in tags["images"]
        for event in events.Images(tag)
    }
    return texts, images


def in_files(run: Path) -> tuple[Shown, Shown]:
    """Return the texts and images in the media folder of a ``CSVLogger``."""
    media = run / "media"

    def found(pattern: str, read: Callable[[Path], Any]) -> Shown:
        return {
            (str(path.parent.relative_to(media)), int(path.stem.removeprefix("step_"))): read(path)
            for path in media.rglob(pattern)
        }

    shown = found("*.md", lambda path: path.read_bytes().decode()), found("*.png", lambda path: Image.open(path))
    assert sum(map(len, shown)) == sum(path.is_file() for path in media.rglob("*")), (
        "the folder contains no other files"
    )
    return shown[0], {key: np.asarray(image) for key, image in shown[1].items()}


def assert_same_images(one: Shown, other: Shown) -> None:
    assert one.keys() == other.keys()
    for key, image in one.items():
        assert np.array_equal(image, other[key]), key


@pytest.mark.parametrize(
    ("name", "tags", "images"),
    [
        ("topics", {"val/per_class", "val/hardest_examples"}, {"val/confusion_matrix", *CURVES}),
        ("tags", {"val/per_class", "val/hardest_examples"}, CURVES),
        ("language", {"sample/0"}, set()),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_two_loggers_receive_the_same(
    cli: CommandLine, name: str, tags: set[str], images: set[str], order: int
) -> None:
    fit(cli, name, FILES[::order])
    board, table = in_tensorboard(RUN), in_files(RUN)
    assert board[0].keys() == {("yaml/config", 0)} | {(tag, step) for tag in tags for step in (2, 4)}
    assert board[1].keys() == {(tag, step) for tag in images for step in (2, 4)}
    assert table[0] == board[0]
    assert_same_images(table[1], board[1])

    config = "".join(f"    {line}\n" for line in (RUN / "config.yaml").read_text().splitlines())
    assert board[0]["yaml/config", 0] == config

    with (RUN / "metrics.csv").open() as file:
        scalars = [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]]
    assert scalars == pytest.approx([event.value for event in events_of(RUN).Scalars("val/loss")])


def test_other_loggers_receive_the_same(cli: CommandLine) -> None:
    fakes: list[tuple[str, dict[str, str]]] = [
        (f"tests.training.loggers.{each.__name__}", {}) for each in (WandbLike, MLflowLike, OtherSignature)
    ]
    fit(cli, "topics", [*FILES, *fakes])
    texts, images = in_tensorboard(RUN)
    assert {(key, step): text for key, step, text in WandbLike.texts} == texts
    assert len(WandbLike.texts) == len(texts), "each once"
    assert_same_images({(key, step or 0): image for key, step, image in WandbLike.images}, images)

    artifacts = MLflowLike.client.artifacts
    assert {run_id for run_id, _ in artifacts} == {"run"}
    expected = {f"{tag}/step_{step}.md" for tag, step in texts} | {f"{tag}/step_{step}.png" for tag, step in images}
    assert {name for _, name in artifacts} == expected
    for (tag, step), text in texts.items():
        assert artifacts["run", f"{tag}/step_{step}.md"] == text
    for (tag, step), image in images.items():
        assert np.array_equal(artifacts["run", f"{tag}/step_{step}.png"], image)

    assert cli.out.count("cannot show") == 1
    assert "OtherSignature cannot show text or images; among those that can are TensorBoardLogger" in cli.out


def test_a_logger_without_local_files_receives_the_configuration(cli: CommandLine) -> None:
    fit(cli, "topics", [("tests.training.loggers.MLflowLike", {})])
    assert (
        "class_path: gpt_lightning.SequenceClassification"
        in MLflowLike.client.artifacts["run", "yaml/config/step_0.md"]
    )
    assert not Path("config.yaml").exists()
    assert (RUN / "config.yaml").exists()


def test_a_dry_run_writes_nothing(cli: CommandLine) -> None:
    fit(cli, "topics", [*FILES, ("tests.training.loggers.OtherSignature", {})], "--trainer.fast_dev_run=2")
    assert not Path("logs").exists()
    assert "cannot show" not in cli.out


def test_a_resumed_run_overwrites_repeated_files(cli: CommandLine) -> None:
    fit(cli, "topics", FILES[1:])
    assert "tensorboard" not in cli.out, "the run has no TensorBoard files"
    before = {path: path.stat().st_mtime_ns for path in RUN.glob("media/val/*/*")}
    fit(cli, "topics", FILES[1:], f"--ckpt_path={RUN}/checkpoints/step_2.ckpt", "--trainer.max_steps=6")
    after = {path: path.stat().st_mtime_ns for path in RUN.glob("media/val/*/*")}
    assert {path.stem for path in after.keys() - before.keys()} == {"step_6"}
    assert {path.stem for path in before if after[path] != before[path]} == {"step_4"}


def test_only_rank_zero_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tags = {"val/confusion_matrix", "val/per_class", "val/hardest_examples", "sample/0"}
    for is_first, expected in ((False, set()), (True, tags)):
        monkeypatch.setattr(L.Trainer, "is_global_zero", is_first)
        for task, data in (head(tmp_path, "classification"), (causal_lm(), language_modeling(tmp_path))):
            callbacks = [Reports(), Samples(max_new_tokens=2)]
            loop = trainer(tmp_path, logger=WandbLike(), callbacks=callbacks, max_steps=1, val_check_interval=1)
            loop.fit(task, datamodule=data)
        assert {key for key, _, _ in WandbLike.texts + WandbLike.images} == expected


def test_errors_of_a_logger_are_raised(tmp_path: Path) -> None:
    loop = trainer(tmp_path, logger=Unreachable())
    with pytest.raises(ConnectionError, match="sample/0"):
        show_text(loop, "sample/0", "text")
    with pytest.raises(ConnectionError, match="val/confusion_matrix"):
        show_image(loop, "val/confusion_matrix", PIXELS)


@pytest.mark.parametrize("method", ["log_text", "log_image", "log_metrics"])
def test_the_fake_has_the_signatures_of_lightnings_logger(method: str) -> None:
    def arguments(logger: type) -> list[tuple[Any, ...]]:
        parameters = inspect.signature(getattr(logger, method)).parameters.values()
        return [(each.name, each.kind, each.default) for each in parameters]

    assert arguments(WandbLike) == arguments(WandbLogger)


def test_wandb_is_recognized_by_its_signature() -> None:
    assert shows_text(WandbLogger.__new__(WandbLogger)), "the constructor needs W&B"
    assert shows_images(WandbLogger.__new__(WandbLogger))


@pytest.mark.parametrize("logger", [Silent(), OtherSignature(), DummyLogger()])
def test_loggers_that_show_nothing(logger: Logger) -> None:
    assert not shows_text(logger)
    assert not shows_images(logger)


@pytest.mark.parametrize(
    "text",
    [
        "a plain line",
        "two\nlines\n\nand a paragraph",
        "# no heading\n+ no list\n- none\n1. none\n2) none\n=====\n~~~\n| no | table |",
        "  - indented\n    def code():\n\treturn 1  # two  spaces",
        HOSTILE,
        "*a* _b_ `c` [d](e) <b>f</b> &amp; \\",
        "long " * 1000,
    ],
)
def test_wrapped_text_is_shown_unchanged_and_wraps(text: str) -> None:
    rendered = rendered_by_tensorboard(wrap_lines(text))
    assert not re.search("<(a|b|script|h1|h2|code|pre|del|em|strong|ul|ol|table|hr)[ >]", rendered)
    assert visible(rendered) == "".join(text.split())
    assert rendered.count("<br") + rendered.count("<p>") == sum(bool(line.strip()) for line in text.split("\n"))


def test_wrapped_text_keeps_indentation() -> None:
    rendered = html.unescape(rendered_by_tensorboard(wrap_lines("def f():\n    return 1  # one")))
    assert rendered == "<p>def f():<br>\n\xa0\xa0\xa0\xa0return 1 \xa0# one</p>"
