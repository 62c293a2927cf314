"""``compare``: several runs on one page."""

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from gpt_lightning.evaluation.run_report import history
from gpt_lightning.evaluation.run_report.comparison import differences, run_names
from tests.heads import CommandLine
from tests.pages.markup import HOSTILE, axis, check_page


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def write_run(run: Path, lr: float, losses: list[float], test: float | None = None) -> None:
    """Write the files of a run."""
    run.mkdir(parents=True)
    config = {"model": {"class_path": "A", "init_args": {"optimizer": {"lr": lr}}}, "seed_everything": 0}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for step, loss in enumerate(losses):
        history.append(run, step * 10, scalars={"train/loss": loss, "x_axis/tokens": step})
    (run / "report.json").write_text(json.dumps({"git": {"commit": f"{lr}"}, "versions": {"torch": "2"}}))
    if test is not None:
        record = {"task": "T", "checkpoint": "c", "data": "d", "metrics": {"accuracy": test}}
        (run / "metrics.json").write_text(json.dumps(record))


def test_two_runs_on_one_page(cli: CommandLine) -> None:
    write_run(Path("logs/a/one"), 0.1, [3.0, 2.0, 1.5])
    write_run(Path("logs/a/two"), 0.2, [3.5, math.nan, 1.0], test=0.75)
    assert cli("compare", "logs/a/one", "logs/a/two") == 0, cli.err
    assert [line.split() for line in cli.out.splitlines()] == [
        ["run", "train/loss", "test/accuracy"],
        ["one", "1.5000", "-"],
        ["two", "1.0000", "0.7500"],
        ["wrote", "comparison.html"],
    ]
    page = Path("comparison.html").read_text()
    text = check_page(page).text
    assert "model.optimizer.lr0.10.2" in text
    assert "git: commit0.10.2" in text
    assert "seed_everything" not in text, "only settings that differ"
    assert "versions: torch" not in text
    _, after = page.split("<figcaption>train/loss</figcaption>")
    chart = ElementTree.fromstring(after.partition("</svg>")[0] + "</svg>")
    slope, offset = axis(chart, "y")
    points = [line.get("points", "").split() for line in chart.iter("polyline")]
    lines = [[float(point.split(",")[1]) * slope + offset for point in line] for line in points]
    np.testing.assert_allclose(lines, [[3.0, 2.0, 1.5]], atol=0.02)
    dots = [float(dot.get("cy", "")) * slope + offset for dot in chart.iter("circle")]
    np.testing.assert_allclose(dots, [3.5, 1.0], atol=0.02)
    assert "1 values are left out" in text


def test_the_page_is_not_overwritten(cli: CommandLine) -> None:
    write_run(Path("run"), 0.1, [1.0])
    assert cli("compare", "run", "--output=a.html") == 0, cli.err
    assert cli("compare", "run", "--output=a.html") == 2
    assert "already exists" in cli.err
    assert cli("compare", "run", "--output=a.html", "--overwrite") == 0, cli.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "missing: not a run folder"),
        (["."], ".: not a run folder"),
        (["run", "--output=a.txt"], "must end in .html"),
        (["run", "--output=missing/a.html"], "does not exist"),
        ([], "no value is given"),
    ],
)
def test_errors(cli: CommandLine, arguments: list[str], message: str) -> None:
    write_run(Path("run"), 0.1, [1.0])
    assert cli("compare", *arguments) == 2
    assert message in " ".join(cli.err.split())


def test_a_strangers_run_is_shown_as_text(cli: CommandLine) -> None:
    write_run(Path("a"), 0.1, [1.0])
    write_run(Path("b"), 0.1, [])
    history.append(Path("a"), 1, scalars={HOSTILE: 1.0})
    clean = HOSTILE.replace("\ud800", "")
    config = {"a": clean, "trainer": {"callbacks": [{"class_path": "os.system"}]}}
    (Path("b") / "config.yaml").write_text(json.dumps(config))
    (Path("b") / "report.json").write_text(json.dumps({"git": {HOSTILE: HOSTILE}}))
    assert cli("compare", "a", "b") == 0, cli.err
    text = check_page(Path("comparison.html").read_text()).text
    assert text.count("<script>alert(1)</script>") >= 4
    assert "Without a history: b." in text


def test_runs_without_histories_have_no_curves(cli: CommandLine) -> None:
    for name in ("a", "b"):
        write_run(Path(name), 0.1, [], test=0.5)
    assert cli("compare", "a", "b") == 0, cli.err
    page = Path("comparison.html").read_text()
    assert "Without a history: a, b." in check_page(page).text
    assert 'class="charts"' not in page


def test_names_of_runs_are_short_and_distinct() -> None:
    assert run_names(["logs/a/version_0", "logs/b/version_1/"]) == ["a/version_0", "b/version_1"]
    assert run_names(["logs/a", "logs/a"]) == ["a (1)", "a (2)"]
    assert run_names(["a", "a", "a (1)"]) == ["a (1) (1)", "a (2)", "a (1)"]
    assert run_names(["a (2)", "a", "a", "a (2) (3)"]) == ["a (2)", "a (2) (2)", "a (3)", "a (2) (3)"]
    assert run_names(["logs/a"]) == ["a"]
    assert run_names(["logs", "logs/a"]) == ["logs", "a"]


def test_differences_are_of_values_and_of_presence() -> None:
    assert differences([{"a": 1, "b": None, "c": 1}, {"a": 1, "b": 2}]) == [["b", "null", "2"], ["c", "1", None]]
