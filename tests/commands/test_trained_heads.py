"""Balanced weights, thresholds and labels of trained heads through the command line, and continued heads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight  # type: ignore[import-untyped]

from gpt_lightning.tasks import SequenceClassification, SequenceRegression, TokenClassification
from gpt_lightning.tasks.load import find_checkpoint, load_task
from tests.data.drive import write_rows
from tests.heads import CommandLine, write_config


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def last_task(folder: Path) -> SequenceClassification | TokenClassification:
    task, _ = load_task(max((folder / "checkpoints").glob("*.ckpt"), key=lambda path: path.stat().st_mtime))
    assert isinstance(task, SequenceClassification | TokenClassification)
    return task


def test_numbers_need_an_order_that_the_user_gives(run: CommandLine) -> None:
    folder = run.fit("topics")
    write_rows(Path("numbers.jsonl"), [{"text": "rain", "label": 0}, {"text": "goal", "label": 1}])
    assert run("evaluate", str(folder), "--test=numbers.jsonl") != 0
    assert "numbers.jsonl:1: the label 0 is not one of the 3 labels of the model" in run.err
    order = "--data.labels=[weather, sport, '<b>odd</b>|[red]']"
    test = ("test", "--ckpt_path", str(folder), "--data.test=numbers.jsonl")
    assert run(*test, order) == 0, run.err
    per_class = json.loads((folder / "metrics.json").read_text())["per_class"]
    assert [name for name, scores in per_class.items() if scores["support"]] == ["sport", "weather"]
    assert run(*test, "--data.labels=[weather, sport]") != 0
    assert "was trained with" in run.err


def test_an_order_that_the_user_gave_is_remembered(run: CommandLine) -> None:
    write_rows(Path("n.jsonl"), [{"text": f"text {number}", "label": number % 3} for number in range(6)])
    data = [f"--data.{split}=n.jsonl" for split in ("train", "validation", "test")]
    folder = run.fit("topics", *data, "--data.labels=[no, 'off', maybe]", "--model.class_weights={no: 2, off: 3}")
    task = last_task(folder)
    assert task.class_weights.tolist() == [2.0, 3.0, 1.0]
    assert run("evaluate", str(folder), "--test=n.jsonl") == 0, run.err
    assert (
        run(
            "fit",
            "-c",
            "topics.yaml",
            *data,
            "--trainer.max_steps=6",
            "--resume=auto",
            "--data.labels=[no, off, maybe]",
        )
        == 0
    )
    assert "model_labels: null" in (folder / "config.yaml").read_text()
    assert run("evaluate", str(folder), "--test=n.jsonl") == 0, run.err


@pytest.mark.parametrize("name", ["topics", "tags"])
def test_balanced_weights_are_computed_once_and_stored(run: CommandLine, name: str) -> None:
    folder = run.fit(name, "--model.class_weights=balanced")
    task = last_task(folder)
    rows = [json.loads(line) for line in Path(f"{name}.jsonl").read_text().splitlines()]
    labels = [row["label"] for row in rows] if name == "topics" else [tag for row in rows for tag in row["tags"]]
    names = task.hparams["labels"]
    expected = compute_class_weight("balanced", classes=np.array(names), y=labels)
    torch.testing.assert_close(task.class_weights, torch.tensor(expected, dtype=torch.float32))
    assert run("evaluate", str(folder), f"--test={name}.jsonl") == 0
    weighted = json.loads((folder / "metrics.json").read_text())["metrics"]["loss"]
    assert run("export", str(folder), "exported") == 0
    assert run("evaluate", "exported", f"--test={name}.jsonl") == 0
    exported = json.loads(Path("exported/metrics.json").read_text())["metrics"]["loss"]
    assert exported == pytest.approx(weighted, rel=1e-5)


def test_thresholds_of_the_last_validation_are_used_to_predict(run: CommandLine) -> None:
    flags = (
        "--model.multi_label=true",
        "--model.tune_thresholds=true",
        "--data.train=s.jsonl",
        "--data.validation=s.jsonl",
    )
    write_rows(
        Path("s.jsonl"),
        [{"text": "a" * (number + 1), "label": ["a"] if number % 4 == 0 else ["b"]} for number in range(12)],
    )
    folder = run.fit("topics", *flags)
    thresholds = last_task(folder).hparams["thresholds"]
    assert set(thresholds) == {"a", "b"}
    assert thresholds != {"a": 0.5, "b": 0.5}
    for model in (str(folder), "exported"):
        if model == "exported":
            assert run("export", str(folder), model) == 0
        assert run("predict", "--model", model, "--input", "s.jsonl", "--output", "p.jsonl", "--overwrite") == 0, (
            run.err
        )
        for line in Path("p.jsonl").read_text().splitlines():
            row = json.loads(line)
            assert row["labels"] == [name for name, score in row["scores"].items() if score >= thresholds[name]]
    assert run("test", "-c", "topics.yaml", "--ckpt_path", str(folder), *flags, "--data.test=s.jsonl") == 0, run.err
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert metrics["micro_f1"] > 0.0


@pytest.mark.parametrize("is_exported", [False, True])
def test_a_head_continues_with_one_more_label(run: CommandLine, is_exported: bool) -> None:
    pooling = ("--model.pooling=last",) if is_exported else ()
    folder = source = run.fit("topics", *pooling)
    if is_exported:
        source = Path("exported")
        assert run("export", str(folder), "exported") == 0
    old = last_task(folder)
    rows = [json.loads(line) for line in Path("topics.jsonl").read_text().splitlines()]
    write_rows(Path("more.jsonl"), [*rows[:4], {"id": "new", "text": "a vote", "label": "politics"}])
    more = (
        "--data.train=more.jsonl",
        "--trainer.max_steps=1",
        "--data.validation=more.jsonl",
        "--model.optimizer.lr=1e-12",
    )
    assert run("fit", "-c", "topics.yaml", f"--model.init_from={source}", "--name=more", *more, *pooling) == 0, run.err
    assert "for 2 of 3 labels; new: 'politics'; left out: '<b>odd</b>|[red]'" in run.out
    new = last_task(Path("logs/topics/more"))
    assert new.classes == ["politics", "sport", "weather"]
    for name, tensor in new.head.state_dict().items():
        for label in ("sport", "weather"):
            expected = old.head.state_dict()[name][old.classes.index(label)]
            torch.testing.assert_close(tensor[new.classes.index(label)], expected, rtol=0, atol=1e-6)
    if is_exported:
        return
    resume = ("fit", "-c", "topics.yaml", f"--model.init_from={source}", "--name=more", "--resume=auto")
    assert run(*resume, *more, "--trainer.max_steps=2", *pooling) == 0, run.err
    assert "head continued" not in run.out
    flags = ("--model.multi_label=true", "--trainer.max_steps=1", "--name=multi", f"--model.init_from={source}")
    assert run("fit", "-c", "topics.yaml", *flags, *pooling) == 0, run.err
    assert "new head, as" in run.out


def test_tags_continue_by_their_names(run: CommandLine) -> None:
    folder = run.fit("tags")
    old = last_task(folder)
    write_rows(Path("more.jsonl"), [{"tokens": ["Ada", "Rome", "IBM"], "tags": ["B-PER", "B-LOC", "B-ORG"]}])
    more = (
        "--data.train=more.jsonl",
        "--trainer.max_steps=1",
        "--data.validation=more.jsonl",
        "--model.optimizer.lr=1e-12",
    )
    assert run("fit", "-c", "tags.yaml", f"--model.init_from={folder}", "--name=more", *more) == 0, run.err
    assert "for 5 of 7 labels; new: 'B-ORG', 'I-ORG'" in run.out
    new = last_task(Path("logs/tags/more"))
    rows = [new.hparams["labels"].index(tag) for tag in old.hparams["labels"]]
    torch.testing.assert_close(
        new.head.state_dict()["weight"][rows], old.head.state_dict()["weight"], rtol=0, atol=1e-6
    )


def metrics_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())["metrics"]
    return found


@pytest.mark.parametrize(
    ("task", "data", "label", "flags"),
    [
        ("SequenceRegression", "TextRegression", lambda number: 100 + number, ()),
        ("SequenceClassification", "TextClassification", lambda number: "ab"[number > 5], ("class_weights=balanced",)),
        (
            *("SequenceClassification", "TextClassification", lambda number: ["ab"[number > 5]]),
            ("multi_label=true", "tune_thresholds=true"),
        ),
    ],
    ids=["regression", "balanced", "thresholds"],
)
def test_the_configuration_of_a_run_keeps_what_fit_computed(
    run: CommandLine, task: str, data: str, label: Callable[[int], Any], flags: tuple[str, ...]
) -> None:
    write_config(Path(), "topics")
    write_rows(Path("r.jsonl"), [{"text": f"text {number}", "label": label(number)} for number in range(8)])
    arguments = ["fit", "-c", "topics.yaml", f"--model={task}", f"--data={data}", "--experiment=r"]
    files = [f"--data.{split}=r.jsonl" for split in ("train", "validation", "test")]
    assert run(*arguments, *files, *(f"--model.{flag}" for flag in flags)) == 0, run.err
    folder = Path("logs/r/version_0")
    config = ("-c", str(folder / "config.yaml"))
    found = []
    for given in ((), config):
        assert run("test", *given, f"--ckpt_path={folder}", "--data.test=r.jsonl", "--verdict=false") == 0, run.err
        assert "changed: " not in run.out
        found.append(metrics_of(folder))
    assert found[0] == pytest.approx(found[1]), "batches have other sizes"
    assert run("fit", *config, f"--ckpt_path={folder}", "--trainer.max_steps=6") == 0, run.err
    assert "changed: model." not in run.out


def test_a_continued_regression_head_keeps_its_unit_when_it_is_resumed(run: CommandLine) -> None:
    write_config(Path(), "topics")
    arguments = ["fit", "-c", "topics.yaml", "--model=SequenceRegression", "--data=TextRegression"]
    for name, offset in (("first", 0), ("second", 100)):
        write_rows(Path(f"{name}.jsonl"), [{"text": f"t {number}", "label": offset + number} for number in range(8)])
        start = [] if name == "first" else ["--model.init_from=logs/first/version_0"]
        files = [f"--data.{split}={name}.jsonl" for split in ("train", "validation", "test")]
        assert run(*arguments, *files, *start, f"--experiment={name}") == 0, run.err
    folder = Path("logs/second/version_0")
    units = []
    for resumed in (False, True):
        if resumed:
            config = str(folder / "config.yaml")
            assert run("fit", "-c", config, f"--ckpt_path={folder}", "--trainer.max_steps=6") == 0, run.err
        task, _ = load_task(find_checkpoint(str(folder), "last"))
        assert isinstance(task, SequenceRegression)
        units.append((task.target_mean, task.target_std))
    assert units[0] == units[1] == pytest.approx((3.5, np.std(range(8))))
