"""``evaluate``: several runs in one table."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from gpt_lightning.commands.evaluate import markdown
from gpt_lightning.tasks.load import find_checkpoint
from tests.heads import CommandLine


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


def test_two_tasks_in_one_table(cli: CommandLine) -> None:
    topics, tags = cli.fit("topics"), cli.fit("tags")
    assert cli("evaluate", str(topics), str(tags), "--output=table.md") == 0, cli.err
    assert "testing logs/topics/version_0" in cli.err
    lines = cli.out.splitlines()
    assert len(lines) == 4, "standard output holds only the table"
    assert len({len(line) for line in lines}) == 1, "the columns are aligned"
    assert Path("table.md").read_text() == cli.out
    header, _, first, second = cells(cli.out)
    assert header[:3] == ["run", "task", "data"]
    assert set(header[3:]) == {"loss", "accuracy", "macro_f1", "weighted_f1", *ENTITY_METRICS}
    assert first[:3] == [str(topics), "SequenceClassification", "topics.jsonl"]
    assert second[:3] == [str(tags), "TokenClassification", "tags.jsonl"]
    for run, row in ((topics, first), (tags, second)):
        metrics = json.loads((run / "metrics.json").read_text())["metrics"]
        numbers = [cell.partition(" (")[0] for cell in row[3:]]
        assert numbers == [f"{metrics[name]:.4f}" if name in metrics else "-" for name in header[3:]]
    record = json.loads((topics / "metrics.json").read_text())
    low, high = record["verdict"]["scores"]["accuracy"]["interval"]
    assert first[header.index("accuracy")] == f"{record['metrics']['accuracy']:.4f} ({low:.4f} to {high:.4f})"
    assert first[header.index("entity_f1")] == "-"


def test_must_beat_needs_a_verdict_in_favor_of_the_model(cli: CommandLine) -> None:
    run = cli.fit("topics")
    assert cli("evaluate", str(run), "--must_beat=tfidf") == 1
    assert "| 0." in cli.out, "the table is printed"
    assert f"{run}: --must_beat=tfidf: the model does not beat the baseline: model minus baseline is" in cli.err
    record = json.loads((run / "metrics.json").read_text())
    result = record["verdict"]["baselines"]["tfidf"]["scores"]["accuracy"]
    result["is_better"] = True
    (run / "metrics.json").write_text(json.dumps(record))
    assert cli("evaluate", str(run), "--must_beat=tfidf") == 0, cli.err

    hostile: list[object] = [None, [], "\x1b", {"metric": []}, {"metric": "accuracy", "baselines": {"tfidf": 1}}]
    hostile.append({"scores": {"accuracy": {"interval": ["\x1b", 2]}}, "notes": [3, "\x1b[31m"]})
    for verdict in hostile:
        (run / "metrics.json").write_text(json.dumps(record | {"verdict": verdict}))
        assert cli("evaluate", str(run), "--must_beat=tfidf") == 1
        assert "--must_beat=tfidf: the baseline is missing." in cli.err
        assert "\x1b" not in cli.out + cli.err
        assert f" {record['metrics']['accuracy']:.4f} |" in cli.out


def test_errors_about_the_test_data_name_the_option(cli: CommandLine) -> None:
    run = cli.fit("topics")
    assert cli("evaluate", str(run), "--test", "missing.jsonl") == 2
    assert "--test: missing.jsonl does not exist" in " ".join(cli.err.split())
    assert "data.test" not in cli.err


def test_of_several_runs_those_without_test_data_are_skipped(cli: CommandLine) -> None:
    first = cli.fit("topics")
    second, third = (Path(shutil.copytree(first, first.with_name(f"version_{number}"))) for number in (1, 2))
    config = yaml.safe_load((second / "config.yaml").read_text())
    for run in (second, third):
        config["data"]["init_args"]["test"] = None
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert cli("evaluate", *map(str, (first, second, third))) == 0, cli.err
    assert [row[0] for row in cells(cli.out)[2:]] == [str(first)]
    for run in (second, third):
        assert f"skipped {run}: no test data in its config.yaml\n" in cli.err
    assert cli("evaluate", str(second), str(third)) == 2
    assert "no run has test data. Set it with --test FILE" in cli.err


def test_a_run_is_tested_again_only_if_its_metrics_are_not_current(cli: CommandLine) -> None:
    run = cli.fit("topics")
    assert cli("evaluate", str(run)) == 0, cli.err
    file, best = run / "metrics.json", find_checkpoint(str(run))
    original = file.read_text()
    changed = json.loads(original) | {"metrics": {"accuracy": 0.12345}, "data": ["a|b.jsonl", "c.jsonl"]}

    def is_reused(*arguments: str) -> bool:
        assert cli("evaluate", str(run), *arguments) == 0, cli.err
        return "0.1235" in cli.out or "0.1234" in cli.out

    file.write_text(json.dumps(changed))
    assert is_reused("--output=table.json")
    assert "a\\|b.jsonl, c.jsonl" in cli.out
    assert json.loads(Path("table.json").read_text()) == [{"run": str(run), **changed}]
    assert not is_reused("--again")
    assert file.read_text() == original

    file.write_text(json.dumps(changed))
    os.utime(best, (file.stat().st_mtime + 10,) * 2)
    assert not is_reused(), "the checkpoint is newer"

    file.write_text(json.dumps(changed | {"checkpoint": "step_1.ckpt"}))
    os.utime(best, (0, 0))
    assert not is_reused(), "the metrics are those of another checkpoint"

    with (run / "config.yaml").open("a") as config:
        config.write("note:\tthe parser of PyYAML refuses a tab here, that of libyaml does not\n")
    file.unlink()
    file.mkdir()
    assert cli("evaluate", str(run)) == 0, "a read-only folder can be evaluated"
    assert len(cli.out.splitlines()) == 3


def test_metrics_of_old_versions_get_their_current_names(cli: CommandLine) -> None:
    run = cli.fit("tags")
    assert cli("test", "-c", "tags.yaml", f"--ckpt_path={run}") == 0, cli.err
    record = json.loads((run / "metrics.json").read_text())
    old = {"entity_f1": "f1", "entity_macro_f1": "macro_f1", "token_accuracy": "accuracy"}
    record["metrics"] = {old.get(name, name): value for name, value in record["metrics"].items()}
    (run / "metrics.json").write_text(json.dumps(record))
    assert cli("evaluate", str(run)) == 0, cli.err
    assert "testing" not in cli.err
    assert set(cells(cli.out)[0][3:]) == {"loss", *ENTITY_METRICS}


def test_a_hugging_face_model_on_the_given_rows(cli: CommandLine) -> None:
    """The folder has no config.yaml, so --test gives the rows; others than those of metrics.json are tested again."""
    tags = cli.fit("tags", "--model.backbone.position=rotary", "--model.backbone.norm=rmsnorm", *LLAMA)
    assert cli("export", str(tags), "model") == 0, cli.err
    for name in ("config.yaml", "gpt_lightning.json"):
        (Path("model") / name).unlink()
    assert cli("evaluate", "model") == 2
    assert "model: a model folder without a config.yaml has no test data. Set it with --test FILE" in cli.err
    assert cli("evaluate", "model", str(tags), "--test=tags.jsonl") == 0, cli.err
    _, _, exported, trained = cells(cli.out)
    assert exported[1:] == trained[1:]
    Path("fewer.jsonl").write_text("".join(Path("tags.jsonl").read_text().splitlines(keepends=True)[:2]))
    assert cli("evaluate", "model", "--test=fewer.jsonl") == 0, cli.err
    assert "testing model" in cli.err
    assert cells(cli.out)[-1][2] == "fewer.jsonl"


ENTITY_METRICS = ("entity_precision", "entity_recall", "entity_f1", "entity_macro_f1", "token_accuracy")
LLAMA = ("--model.backbone.mlp=swiglu", "--model.backbone.bias=false")


def test_invalid_input_gives_one_clear_message(cli: CommandLine) -> None:
    run = cli.fit("topics")
    config = yaml.safe_load((run / "config.yaml").read_text())

    def refused(message: str, *arguments: str) -> None:
        assert cli("evaluate", *arguments) == 2
        assert message in cli.err
        assert len(cli.err.strip().splitlines()) == 1
        assert not cli.out

    Path("empty").mkdir()
    Path("empty/config.yaml").write_text("seed_everything: 0\n")
    refused("absent: not a run folder, because it has no config.yaml. Give logs/EXPERIMENT/version_N", "absent")
    refused("logs/topics: not a run folder", str(run), "logs/topics")
    refused("empty: not a run with checkpoints, because empty/checkpoints/manifest.json is missing or empty", "empty")
    refused("--output table.csv must end in .md or .json", str(run), "--output=table.csv")
    metrics = {"task": "x", "checkpoint": "x", "data": "x", "metrics": {"loss": "\x1b"}}
    for text, reason in (
        ('{"metrics": 3', "not valid JSON"),
        ("3", "not a JSON object"),
        ('{"metrics": 3}', "damaged"),
        (json.dumps(metrics), "damaged"),
    ):
        (run / "metrics.json").write_text(text)
        refused(f"metrics.json: {reason}", str(run))
        assert "Add --again to test the run again" in cli.err
    (run / "metrics.json").unlink()

    config["data"]["init_args"]["test"] = None
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    refused("no test data. Set it with --test FILE, or as data.init_args.test in", str(run))
    (run / "config.yaml").write_text("data: [")
    refused("config.yaml:1: not YAML", str(run))

    Path("topics.jsonl").unlink()
    config["data"]["init_args"]["test"] = "topics.jsonl"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert cli("evaluate", str(run)) == 2
    assert "topics.jsonl does not exist" in cli.err


def test_missing_metrics_are_shown_as_a_dash() -> None:
    table = markdown([{"run": "a", "task": "T", "data": "d", "metrics": {"loss": None, "f1": 1}}])
    assert table.splitlines()[-1] == "| a   | T    | d    |    - | 1.0000 |"
