"""Report on a run without some of its rows: JSON, a page, and a summary for the terminal."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from gpt_lightning.evaluation.influence import Influence, Losses
from gpt_lightning.output_files import json_bytes, output_file
from gpt_lightning.pages.charts import histogram
from gpt_lightning.pages.page import Section, write_page
from gpt_lightning.pages.tables import table

JSON_FILE: Final = "without.json"
PAGE_FILE: Final = "without.html"
_REMEDY: Final = "Choose another --name"
_PRINTED: Final = 5
"""Number of validation rows in the terminal."""
_EXCERPT: Final = 80


@dataclass(frozen=True)
class InfluenceReport:
    """Run without some of its rows, compared with the run that had them.

    Attributes:
        run: folder of the run with the rows.
        without: folder of the run without them.
        rows: file that names the rows.
        num_masked: number of masked rows of an epoch: examples, windows of long texts, or documents.
        mask_sha256: digest of the mask; empty if nothing was masked.
        first: epoch and batch, from 0, in which a masked row occurs first; None if nothing was masked.
        continued: checkpoint that was continued; None if training started from the first step.
        steps: optimizer steps of both runs.
        checkpoints: SHA-256 of the compared checkpoints, the last ones of both runs.
        equal_weights: whether their weights are equal, bit for bit.
        changed_settings: settings or properties of the machine that differ, so that the comparison is not exact.
        traces: what still depends on the removed rows.
        influence: losses and metrics with and without the rows.
    """

    run: str
    without: str
    rows: str
    num_masked: int
    mask_sha256: str
    first: tuple[int, int] | None
    continued: str | None
    steps: tuple[int, int]
    checkpoints: tuple[str, str]
    equal_weights: bool
    changed_settings: list[str]
    traces: list[str]
    influence: Influence

    @property
    def is_exact(self) -> bool:
        """True if both runs had the same settings on the same kind of machine."""
        return not self.changed_settings


def write_report(report: InfluenceReport, folder: Path) -> None:
    """Write ``without.json`` and ``without.html``.

    Raises:
        InputError: they cannot be written.
        RunError: the disk is full.
    """
    with output_file(folder / JSON_FILE, True, _REMEDY) as file:
        file.write(json_bytes(asdict(report) | {"is_exact": report.is_exact}))
    title = f"{Path(report.run).name} without {Path(report.rows).name}"
    write_page(folder / PAGE_FILE, title, sections(report), overwrite=True, remedy=_REMEDY)


def sections(report: InfluenceReport) -> list[Section]:
    """Return the parts of the page."""
    found = report.influence
    facts = [
        ("run", report.run),
        ("run without the rows", report.without),
        ("rows", report.rows),
        ("masked", f"{report.num_masked:,}"),
        ("first occurrence", _place(report)),
        ("continued from", report.continued or "the first step"),
        ("steps", " and ".join(f"{step:,}" for step in dict.fromkeys(report.steps))),
        ("SHA-256 of the mask", report.mask_sha256 or "nothing is masked"),
        ("SHA-256 of the checkpoint with the rows", report.checkpoints[0]),
        ("SHA-256 of the checkpoint without them", report.checkpoints[1]),
    ]
    losses = [(name, each.rows, *_change(each.loss_with, each.loss_without)) for name, each in _losses(found)]
    metrics = [(name, *_change(*values)) for name, values in found.metrics.items()]
    rows = [(row.id, row.text, row.labels, *_change(row.loss_with, row.loss_without)) for row in found.most_changed]
    columns = ("with the rows", "without them", "difference")
    parts = [
        Section("Result", [verdict(report), table(("", ""), facts)]),
        Section("Losses", [table(("rows", "number", *columns), losses)], "Mean loss per label."),
    ]
    if metrics:
        parts.append(Section("Validation metrics", [table(("metric", *columns), metrics)]))
    if rows:
        title = f"Change of the loss of {len(found.changes):,} validation rows"
        chart = histogram(found.changes, title=title, x_label="loss without the removed rows - loss with them")
        parts.append(
            Section(
                "Validation rows that changed most",
                [chart, table(("id", "beginning", "labels", *columns), rows)],
                "A positive difference means that the removed rows have helped to predict the row.",
            )
        )
    sentences = {
        "What still depends on the rows": [f"{_capitalize(each)}." for each in report.traces],
        "Different settings": [f"{line}." for line in report.changed_settings],
    }
    return [*parts, *(Section(title, found) for title, found in sentences.items() if found)]


def verdict(report: InfluenceReport) -> str:
    """Return a sentence about the result and how exact it is."""
    if not report.is_exact:
        return "The settings or the machine of both runs differ, so a part of the difference comes from there."
    if not report.mask_sha256:
        equal = "equal, bit for bit: the run can be repeated" if report.equal_weights else "NOT equal"
        return f"Nothing is masked, and the weights of both runs are {equal}."
    return (
        "Both runs are equal in everything but these rows: order, batches, random numbers, steps. The text and the "
        "labels of the rows have not reached the new weights, except through what still depends on the rows."
    )


def summary(report: InfluenceReport) -> Iterator[str]:
    """Yield the lines for the terminal."""
    found = report.influence
    for name, each in _losses(found):
        yield f"loss of {each.rows:,} {name}: {_arrow(each.loss_with, each.loss_without)}"
    for name, values in found.metrics.items():
        yield f"{name}: {_arrow(*values)}"
    for row in found.most_changed[:_PRINTED]:
        yield f"validation row {row.id}: loss {_arrow(row.loss_with, row.loss_without)}: {row.text[:_EXCERPT]!r}"
    yield from report.changed_settings
    yield verdict(report)
    if report.traces:
        yield f"Still dependent on the rows: {'; '.join(report.traces)}"


def _losses(found: Influence) -> Iterator[tuple[str, Losses]]:
    for name, losses in (("removed rows", found.removed), ("validation rows", found.validation)):
        if losses is not None:
            yield name, losses


def _change(with_rows: float, without_rows: float) -> tuple[float, float, float]:
    return with_rows, without_rows, without_rows - with_rows


def _arrow(with_rows: float, without_rows: float) -> str:
    return f"{with_rows:.4f} with the rows, {without_rows:.4f} without ({without_rows - with_rows:+.4f})"


def _place(report: InfluenceReport) -> str:
    if report.first is None:
        return "unknown, because the run had several devices" if report.mask_sha256 else "none"
    return f"batch {report.first[1] + 1:,} of epoch {report.first[0] + 1:,}"


def _capitalize(phrase: str) -> str:
    return phrase[:1].upper() + phrase[1:]
