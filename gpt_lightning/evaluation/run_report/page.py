"""Page of one run, built from the files in its folder."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.evaluation.run_report.classes import class_parts, probability_charts
from gpt_lightning.evaluation.run_report.curves import curves
from gpt_lightning.evaluation.run_report.files import PAGE, RunFiles, matrix, plain_texts, texts
from gpt_lightning.evaluation.run_report.history import History
from gpt_lightning.evaluation.run_report.markdown import markdown_to_html
from gpt_lightning.pages.blocks import code, fold, side_by_side
from gpt_lightning.pages.page import Section, render_page
from gpt_lightning.pages.tables import table

_MAX_SAMPLES: Final = 12
"""Steps at which a sample is shown, spread over the run."""
_CHANGES: Final = ("Setting", "Value", "Default")


def write_report(run: Path) -> None:
    """Write ``report.html`` from the files in the folder of a run.

    A symbolic link of this name is replaced, not followed, as a stranger may have written the folder.

    Raises:
        OSError: the file cannot be written.
    """
    name = "/".join(run.resolve().parts[-2:])
    page = render_page(f"Run {name}", sections(RunFiles.read(run)))
    with atomic_write(run / PAGE) as file:
        file.write(page.encode())


def sections(files: RunFiles) -> list[Section]:
    """Return the sections for which the run has content."""
    facts = files.facts
    found = [
        Section("Result", list(_result(files))),
        Section("Curves", [curves(files.history)] if files.history.scalars else [], "Metrics by optimizer step."),
        Section("Classes", list(_classes(facts, files.test))),
        Section(
            "Hardest examples", list(_hard_examples(facts)), "Errors of the last validation, the most severe first."
        ),
        Section("Samples", list(_samples(files.history)), "Texts that the model generated after validations."),
        Section("Settings", list(_settings(files)), "Settings that differ from the defaults, then all settings."),
        Section(
            "Data", _table_of(facts, "data"), "Files, and fingerprints of rows and order. Equal ones are equal data."
        ),
        Section("Environment", list(_environment(facts))),
        Section("Commands", [code("\n".join(texts(facts, "commands")))] if texts(facts, "commands") else []),
    ]
    return [section for section in found if section.body]


def _result(files: RunFiles) -> Iterator[Markup | str]:
    tables = _table_of(files.facts, "summary")
    if metrics := files.final_metrics():
        tables.append(table(["Metric", "Final value"], list(metrics.items())))
    if tables:
        yield side_by_side(tables)
    if files.test:
        data = files.test["data"]
        step = f" at step {files.test['step']}" if isinstance(files.test.get("step"), int) else ""
        yield f"Tested checkpoint: {files.test['checkpoint']}{step}, on {data}."


def _classes(facts: Mapping[str, Any], test: Mapping[str, Any]) -> Iterator[Markup | str]:
    """Yield tables and confusion matrices of the last validation and of the test."""
    validation = facts.get("validation")
    if isinstance(validation, dict):
        names = texts(validation, "classes")
        yield from class_parts(
            "validation", names, matrix(validation, "per_class"), matrix(validation, "confusion_matrix")
        )
        charts = list(probability_charts(matrix(validation, "reliability"), matrix(validation, "precision_recall")))
        yield from [side_by_side(charts)] if charts else []
    tested, per_class = test.get("confusion_matrix"), test.get("per_class")
    if isinstance(per_class, dict):
        scores = [
            [each.get(name) for name in ("precision", "recall", "f1", "support")] if isinstance(each, dict) else []
            for each in per_class.values()
        ]
        yield from class_parts("test", list(per_class), matrix({"rows": scores}, "rows"), [])
    if isinstance(tested, dict):
        yield from class_parts("test", texts(tested, "labels"), [], matrix(tested, "rows"))


def _hard_examples(facts: Mapping[str, Any]) -> Iterator[Markup]:
    if examples := texts(facts, "hardest"):
        items = Markup("").join(Markup("<li>{}</li>").format(markdown_to_html(each)) for each in examples)
        yield Markup("<ol>{}</ol>").format(items)


def _samples(history: History) -> Iterator[Markup]:
    """Yield the last text of each tag, and earlier ones folded."""
    for tag, found in sorted(history.texts.items()):
        every = max(-(-len(found) // _MAX_SAMPLES), 1)
        shown = found[::-1][::every]
        step, text = shown[0]
        yield Markup("<h3>{} at step {:,}</h3>{}").format(tag, step, markdown_to_html(text))
        if len(shown) > 1:
            rows = [(step, markdown_to_html(text)) for step, text in reversed(shown)]
            yield fold(f"{len(shown)} of {len(found)} validations", table(["Step", "Text"], rows))


def _settings(files: RunFiles) -> Iterator[Markup | str]:
    changed = files.facts.get("changed")
    rows = [row for row in changed if isinstance(row, list) and len(row) == 3] if isinstance(changed, list) else []
    if rows:
        yield table(_CHANGES, rows)
    if files.settings:
        yield fold("All settings", table(["Setting", "Value"], list(files.settings.items())))


def _environment(facts: Mapping[str, Any]) -> Iterator[Markup | str]:
    for title, name in (("Versions", "versions"), ("Hardware", "hardware"), ("Git", "git")):
        if found := _table_of(facts, name):
            yield Markup("<h3>{}</h3>").format(title)
            yield from found


def _table_of(facts: Mapping[str, Any], name: str) -> list[Markup]:
    rows = list(plain_texts(facts, name).items())
    return [table(["Name", "Value"], rows)] if rows else []
