"""Output of ``test`` and ``validate``, compared with scikit-learn and seqeval."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from seqeval.metrics import classification_report, f1_score  # type: ignore[import-untyped]
from sklearn.metrics import (  # type: ignore[import-untyped]
    accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
)
from sklearn.metrics import f1_score as sklearn_f1

from gpt_lightning.tasks.load import find_checkpoint
from gpt_lightning.training.evaluation_report import metrics_file, print_tables, write
from tests.heads import ODD_LABEL, TAGS, TOPICS, CommandLine


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def evaluated(cli: CommandLine, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return ``metrics.json`` of a run, and its predictions for the same rows."""
    run = cli.fit(name)
    assert cli("predict", "-c", f"{name}.yaml", f"--ckpt_path={run}") == 0, cli.err
    predicted = [json.loads(line) for line in Path("predictions.jsonl").read_text().splitlines()]
    assert cli("test", "-c", f"{name}.yaml", f"--ckpt_path={run}") == 0, cli.err
    return json.loads((run / "metrics.json").read_text()), predicted


def test_topics_equal_scikit_learn(cli: CommandLine) -> None:
    record, rows = evaluated(cli, "topics")
    gold, predicted = [label for _, label in TOPICS], [row["label"] for row in rows]
    labels = sorted(set(gold))
    assert {key: record[key] for key in ("task", "checkpoint", "data")} == {
        "task": "SequenceClassification",
        "checkpoint": find_checkpoint("logs/topics/version_0").name,
        "data": "topics.jsonl",
    }
    assert record["step"] in (2, 4)
    assert set(record["metrics"]) == {"loss", "accuracy", "macro_f1", "weighted_f1"}
    assert record["metrics"]["accuracy"] == pytest.approx(accuracy_score(gold, predicted))
    assert record["metrics"]["macro_f1"] == pytest.approx(sklearn_f1(gold, predicted, average="macro"))
    assert record["confusion_matrix"]["labels"] == labels
    assert record["confusion_matrix"]["rows"] == confusion_matrix(gold, predicted, labels=labels).tolist()
    reference = precision_recall_fscore_support(gold, predicted, labels=labels, zero_division=0)
    for label, *scores in zip(labels, *reference, strict=True):
        assert list(record["per_class"][label]) == ["precision", "recall", "f1", "support"]
        assert list(record["per_class"][label].values()) == pytest.approx(scores)
        assert isinstance(record["per_class"][label]["support"], int)
    assert f"{record['metrics']['loss']:.4f}" in cli.out
    assert "test/accuracy" in cli.out
    assert ODD_LABEL in cli.out
    assert "DataLoader" not in cli.out, "Lightning's own table"


def test_tags_equal_seqeval(cli: CommandLine) -> None:
    record, rows = evaluated(cli, "tags")
    gold, predicted = [tags for _, tags in TAGS], [row["tags"] for row in rows]
    report = classification_report(gold, predicted, output_dict=True, zero_division=0)
    assert record["task"] == "TokenClassification"
    assert record["metrics"]["entity_f1"] == pytest.approx(f1_score(gold, predicted, zero_division=0))
    assert "confusion_matrix" not in record
    assert set(record["per_class"]) == {"LOC", "PER"}
    for kind, scores in record["per_class"].items():
        assert scores["f1"] == pytest.approx(report[kind]["f1-score"])
        assert scores["recall"] == pytest.approx(report[kind]["recall"])
        assert scores["support"] == report[kind]["support"]


def test_only_test_writes_metrics_json(cli: CommandLine) -> None:
    run = cli.fit("topics")
    assert cli("validate", "-c", "topics.yaml", f"--ckpt_path={run}") == 0, cli.err
    assert "val/accuracy" in cli.out
    assert "sport" in cli.out
    assert "DataLoader" not in cli.out
    assert not list(Path().glob("**/metrics.json")), "validate writes no file"

    Path("elsewhere").mkdir()
    shutil.copy(find_checkpoint(str(run), "last"), "elsewhere/mine.ckpt")
    assert cli("test", "-c", "topics.yaml", "--ckpt_path=elsewhere/mine.ckpt", "--trainer.limit_test_batches=0.5") == 0
    assert "only a part of the test data was read" in cli.out
    assert not list(Path().glob("**/metrics.json"))
    assert cli("test", "-c", "topics.yaml", "--ckpt_path=elsewhere/mine.ckpt") == 0, cli.err
    assert [str(path) for path in Path().glob("**/metrics.json")] == ["elsewhere/metrics.json"]
    record = json.loads(Path("elsewhere/metrics.json").read_text())
    assert (record["checkpoint"], record["step"]) == ("mine.ckpt", 4)

    (run / "metrics.json").mkdir()
    assert cli("test", "-c", "topics.yaml", f"--ckpt_path={run}") == 0, "a read-only folder costs a warning only"
    assert "test/accuracy" in cli.out
    assert "warning: cannot write" in cli.err
    assert not list(run.glob(".metrics*"))


def test_metrics_json_is_written_atomically(tmp_path: Path) -> None:
    path = metrics_file(tmp_path / "checkpoints" / "step_2.ckpt")
    assert path == tmp_path / "metrics.json"
    write({"data": "日本", "loss": None}, path)
    with pytest.raises(TypeError, match="not JSON serializable"):
        write({"loss": object()}, path)
    assert json.loads(path.read_text()) == {"data": "日本", "loss": None}
    write({"loss": math.nan}, path)
    assert json.loads(path.read_text()) == {"loss": None}
    assert [each.name for each in tmp_path.iterdir()] == ["metrics.json"]


def test_the_table_is_limited_to_the_worst_classes(capsys: pytest.CaptureFixture[str]) -> None:
    scores = {f"class {n}": {"precision": 0.5, "recall": 0.5, "f1": n / 50, "support": n} for n in range(50)}
    print_tables({"test/loss": 1.23456}, scores | {"\x1b[31m": scores["class 0"]})
    out = capsys.readouterr().out
    assert "1.2346" in out
    assert "the 20 of 51 classes with the lowest F1" in out
    assert out.count("class ") == 19 + 1, "19 names and the column header"
    assert "\x1b" not in out
    assert "class 49" not in out
