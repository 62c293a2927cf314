import json
import time
from pathlib import Path

import pytest

from gpt_lightning.evaluation.run_report import history
from gpt_lightning.evaluation.run_report.classes import class_parts
from gpt_lightning.evaluation.run_report.curves import DIAGNOSTICS, curves
from gpt_lightning.evaluation.run_report.files import RunFiles
from gpt_lightning.evaluation.run_report.markdown import markdown_to_html
from gpt_lightning.evaluation.run_report.page import sections, write_report
from gpt_lightning.pages.page import render_page
from gpt_lightning.tasks.error_examples import escape
from gpt_lightning.tasks.tags import DIAGNOSTIC_GROUPS
from gpt_lightning.training.logger_media import wrap_lines
from tests.pages.markup import HOSTILE, check_page, svg_of, texts

TEXTS = [
    "a_b *c* **d** `e` [f](g) <h> &amp; i\\j",
    "1. one\n2. two\n\n  - three",
    "# head\n> quote",
    "  x  y ",
]


@pytest.mark.parametrize("text", TEXTS)
def test_markdown_of_samples_is_shown_as_the_text(text: str) -> None:
    shown = check_page(markdown_to_html(wrap_lines(text))).text
    assert "".join(shown.split()) == "".join(text.split())
    assert len(shown.splitlines()) == len(text.splitlines())


@pytest.mark.parametrize("text", TEXTS[:3])
def test_markdown_of_examples_is_shown_as_the_text(text: str) -> None:
    page = markdown_to_html(f"**{escape(text)}** instead of **{escape('b')}**")
    assert check_page(page).text == f"{' '.join(text.split())} instead of b"
    assert page.count("<strong>") == page.count("</strong>") == 2


def test_scores_and_matrix_have_the_numbers() -> None:
    scores, matrix = [[0.5, 0.25, 1 / 3, 4.0], [1.0, 1.0, 1.0, 6.0]], [[1, 3], [0, 6]]
    _, scores_table, chart = class_parts("test", ["<b>", "b"], scores, matrix)
    assert '<td>&lt;b&gt;</td><td class="number">0.5</td>' in scores_table
    assert texts(svg_of(chart), "value") == ["1", "3", "0", "6"]


def test_large_matrices_show_the_classes_with_the_most_errors() -> None:
    size = 40
    matrix = [[5 if row == column else 0 for column in range(size)] for row in range(size)]
    matrix[35][2] = 9
    (chart,) = class_parts("test", [f"c{n}" for n in range(size)], [], matrix)
    names = texts(svg_of(chart), "name")
    assert "the 30 of 40 classes with the most errors" in chart
    assert {"c2", "c35"} <= set(names)


def hostile_run(run: Path) -> None:
    """Write the files of a run in which every text is hostile, and every value of the wrong type appears."""
    scores = {"precision": 0.5, "recall": 0.5, "f1": None, "support": 3}
    facts = {
        "summary": {HOSTILE: HOSTILE, "x": [1]},
        "changed": [[HOSTILE, HOSTILE, None], [1], 2],
        "data": {HOSTILE: 1},
        "versions": [],
        "hardware": {HOSTILE: HOSTILE},
        "git": None,
        "commands": [HOSTILE, 1],
        "validation": {
            "classes": [HOSTILE, "b"],
            "per_class": [[1, 2, 3, 4], [1, 2, 3, None]],
            "confusion_matrix": [[1], []],
        },
        "hardest": [HOSTILE, {}],
    }
    (run / "report.json").write_text(json.dumps(facts))
    metrics = {"task": HOSTILE, "checkpoint": HOSTILE, "data": HOSTILE, "metrics": {HOSTILE: 1.0, "y": None}}
    per_class = {HOSTILE: scores, "z": [1]}
    (run / "metrics.json").write_text(json.dumps({**metrics, "per_class": per_class, "confusion_matrix": 5}))
    (run / "config.yaml").write_text(json.dumps({"a": [HOSTILE.replace("\ud800", "")]}))
    history.append(run, 1, scalars={HOSTILE: 1.0, "train/loss": 2.0}, texts={HOSTILE: HOSTILE})
    history.append(run, 2, scalars={HOSTILE: float("nan")}, texts={HOSTILE: HOSTILE})


def test_a_strangers_run_is_shown_as_text(tmp_path: Path) -> None:
    hostile_run(tmp_path)
    write_report(tmp_path)
    found = check_page((tmp_path / "report.html").read_text())
    assert found.text.count("<script>alert(1)</script>") > 15
    titles = ["Result", "Curves", "Hardest examples", "Samples", "Settings", "Data", "Environment", "Commands"]
    assert [title for title in titles if title not in found.text] == []


def test_tags_of_a_strangers_history_are_shown_as_text(tmp_path: Path) -> None:
    tag = json.dumps(HOSTILE)  # escapes, unlike the file that a run writes
    (tmp_path / "history.jsonl").write_text(f'{{"step": 1, "scalars": {{{tag}: 1}}, "texts": {{{tag}: {tag}}}}}\n')
    write_report(tmp_path)
    assert check_page((tmp_path / "report.html").read_text()).text.count("<script>alert(1)</script>") == 3


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400, "1e999", "-1e999", "9" * 300])
def test_numbers_that_no_float_holds_do_not_stop_the_report(tmp_path: Path, number: str) -> None:
    rows = f'"per_class": [[1, 1, 1, {number}]], "confusion_matrix": [[{number}]]'
    charts = f'"reliability": [[{number}, 1, {number}]], "precision_recall": [[0, {number}]]'
    facts = f'{{"summary": {{"a": {number}}}, "changed": [[1, {number}, 2]]'
    (tmp_path / "report.json").write_text(f'{facts}, "validation": {{"classes": ["a"], {rows}, {charts}}}}}')
    metrics = f'"task": "t", "checkpoint": "c", "data": "d", "step": {number}, "metrics": {{"a": {number}}}'
    (tmp_path / "metrics.json").write_text(
        f'{{{metrics}, "confusion_matrix": {{"labels": ["a"], "rows": [[{number}]]}}}}'
    )
    (tmp_path / "history.jsonl").write_text(f'{{"step": 1, "scalars": {{"a": {number}, "b": 1}}}}\n')
    (tmp_path / "config.yaml").write_text(f"a: {number}\nb: [{number}]\n")
    write_report(tmp_path)
    check_page((tmp_path / "report.html").read_text())


def test_a_long_row_of_blanks_takes_linear_time() -> None:
    start = time.process_time()
    assert len(markdown_to_html(" " * 400_000)) > 400_000
    assert time.process_time() - start < 5, "quadratic time would be more than a minute"


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", '{"validation": 1, "changed": {}, "summary": 3}', "\x00"])
def test_damaged_facts_are_left_out(tmp_path: Path, content: str) -> None:
    for name in ("report.json", "metrics.json", "history.jsonl"):
        (tmp_path / name).write_text(content)
    assert sections(RunFiles.read(tmp_path)) == []
    check_page(render_page("t", []))


def test_equal_files_give_equal_pages(tmp_path: Path) -> None:
    hostile_run(tmp_path)
    pages = [render_page("t", sections(RunFiles.read(tmp_path))) for _ in range(2)]
    assert pages[0] == pages[1]


def test_layers_share_a_chart_and_stages_of_a_metric_share_one() -> None:
    assert all(group.startswith(DIAGNOSTICS) for group in DIAGNOSTIC_GROUPS)
    tags = ["train/loss", "val/loss", "val/f1", "x_axis/epoch", *(f"{DIAGNOSTIC_GROUPS[0]}/{n}" for n in "ab"), "own"]
    page = curves(history.History({tag: [(0, 1.0), (1, 2.0)] for tag in tags}))
    titles = [part.partition("<")[0] for part in page.split("<figcaption>")[1:]]
    assert titles == ["loss", "f1", "own", DIAGNOSTIC_GROUPS[0]]


def test_links_of_a_strangers_run_are_replaced(tmp_path: Path) -> None:
    (own := tmp_path / "own").write_text("keep")
    (run := tmp_path / "run").mkdir()
    (run / "report.html").symlink_to(own)
    (run / history.FILE).symlink_to(tmp_path / "absent")
    write_report(run)
    history.restart(run, 0, run)
    history.append(run, 1, scalars={"a": 1.0})
    assert own.read_text() == "keep"
    assert not (tmp_path / "absent").exists()
    assert "<html" in (run / "report.html").read_text()
    assert history.read(run).scalars == {"a": [(1, 1.0)]}
