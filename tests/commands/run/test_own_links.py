"""Links between data and task: values that they replace, and those of a task of the user's own."""

import json
from pathlib import Path

import pytest

from tests.heads import CommandLine, write_config

OWN = """
from gpt_lightning.tasks import SequenceClassification

class Renamed(SequenceClassification):
    takes_from_data = {"vocab_size": "vocab_size", "names": "labels"}

    def __init__(self, names: list[str] | None = None, **settings) -> None:
        super().__init__(labels=names, **settings)

class Small(SequenceClassification):
    def __init__(self, labels: list[str] | None = None, vocab_size: int | None = None) -> None:
        from gpt_lightning.models import GPTConfig
        shape = GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=128)
        super().__init__(labels=labels, vocab_size=vocab_size, backbone=shape)
"""


@pytest.mark.parametrize("name", ["Renamed", "Small"])
def test_labels_come_from_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = CommandLine(tmp_path, monkeypatch, capsys)
    (tmp_path / "own_links.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    config = write_config(tmp_path, "topics")
    shape = config.read_text().replace("class_path: SequenceClassification", f"class_path: own_links.{name}")
    if name == "Small":
        start = shape.index("  init_args:\n    backbone")
        shape = shape[:start] + shape[shape.index("trainer:", start) :]
    config.write_text(shape)
    allow = "--allow_import=own_links"
    assert run("fit", "-c", "topics.yaml", allow) == 0, run.err
    saved = "--ckpt_path=logs/topics/version_0"
    assert run("test", saved, "--data.test=topics.jsonl", "--trainer.accelerator=cpu", allow) == 0, run.err
    assert run("predict", saved, "--data.test=topics.jsonl", "--trainer.accelerator=cpu", allow) == 0, run.err
    Path("others.jsonl").write_text(json.dumps({"text": "rain", "label": "opera"}) + "\n")
    assert run("test", saved, "--data.test=others.jsonl", "--trainer.accelerator=cpu", allow) == 2
    assert "the label 'opera' is not one of the 3 labels of the model" in run.err
    assert run("fit", "-c", "topics.yaml", "--resume=auto", "--trainer.max_steps=6", allow) == 0, run.err


@pytest.mark.parametrize(
    ("flag", "remedy"),
    [
        ("model.vocab_size=7", "it comes from the data module. Leave it out"),
        ("model.labels=[opera,sport]", "it comes from the data module. Set data.labels instead"),
        ("model.layout.prefix=[1]", "it comes from the data module. Set data.layout.prefix instead"),
        ("data.block_size=64", "it comes from the model. Set model.backbone.block_size instead"),
        ("data.multi_label=true", "it comes from the model. Set model.multi_label instead"),
    ],
)
def test_values_that_a_link_would_replace_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flag: str, remedy: str
) -> None:
    run = CommandLine(tmp_path, monkeypatch, capsys)
    write_config(tmp_path, "topics")
    assert run("fit", "-c", "topics.yaml", f"--{flag}") == 2
    assert f"{flag.partition('=')[0]} cannot be set, because {remedy}" in run.err
    assert not (tmp_path / "logs").exists()


def test_links_accept_null_and_the_configuration_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = CommandLine(tmp_path, monkeypatch, capsys)
    config = run.fit("tags") / "config.yaml"
    Path("null.yaml").write_text("model:\n  init_args:\n    labels: null\n")
    assert run("fit", "-c", str(config), "-c", "null.yaml", "--trainer.max_steps=1") == 0, run.err
