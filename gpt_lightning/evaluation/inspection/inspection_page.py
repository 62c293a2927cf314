"""HTML page of an inspection, from the same numbers as the text on the terminal."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from markupsafe import Markup

from gpt_lightning.evaluation.inspection.findings import Finding
from gpt_lightning.evaluation.inspection.inspection import InspectedSplit, Inspection
from gpt_lightning.evaluation.inspection.runs import Piece, pieces
from gpt_lightning.evaluation.inspection.summary import facts
from gpt_lightning.evaluation.inspection.token_rows import ANSWER, OUTSIDE, TokenRow
from gpt_lightning.pages.blocks import side_by_side
from gpt_lightning.pages.charts import bar_chart, histogram
from gpt_lightning.pages.colored_text import colored_text
from gpt_lightning.pages.page import Section, write_page
from gpt_lightning.pages.tables import table
from gpt_lightning.tokenizers.tokenizer import Tokenizer

_MAX_LABELS: Final = 50
_TITLE: Final = "Data before training"
_LEGEND: Final = (
    "Underlined tokens are trained: the loss counts them or the label of their word, or they are the answer. A label "
    "in brackets belongs to the token before it, and ‖ marks the beginning of a document."
)


def write_inspection(
    path: Path,
    inspection: Inspection,
    found: Sequence[Finding],
    tokenizer: Tokenizer,
    *,
    overwrite: bool,
    remedy: str,
) -> None:
    """Write the page.

    Args:
        path: the file.
        inspection: the inspected data.
        found: its findings.
        tokenizer: the tokenizer.
        overwrite: whether the file may exist.
        remedy: advice to choose another file.

    Raises:
        InputError: the file exists or cannot be written.
    """
    splits = (_split(each, tokenizer) for each in inspection.splits.values() if each.unreadable is None)
    write_page(path, _TITLE, [_findings(found), *splits], overwrite=overwrite, remedy=remedy)


def _findings(found: Sequence[Finding]) -> Section:
    problems = sum(each.is_problem for each in found)
    summary = f"{problems:,} of {len(found):,} findings are problems, which make training wrong."
    rows = [(each.where, f"{'problem' if each.is_problem else 'note'}: {each.what}", each.remedy) for each in found]
    if not found:
        return Section("Findings", ["Nothing unusual was found."])
    return Section("Findings", [table(["Where", "What", "What to do"], rows)], summary)


def _split(split: InspectedSplit, tokenizer: Tokenizer) -> Section:
    counts = split.statistics.label_counts
    charts = [histogram(split.statistics.lengths, title="Lengths", x_label="tokens")]
    if split.statistics.numbers:
        charts.append(histogram(split.statistics.numbers, title="Labels", x_label="label"))
    if counts:
        charts.append(bar_chart(dict(counts.most_common(_MAX_LABELS)), title="Labels", x_label="number"))
    body = [side_by_side(charts), _LEGEND, *(part for row in split.rows for part in _row(split, row, tokenizer))]
    return Section(split.name, body, f"{facts(split)}.")


def _row(split: InspectedSplit, row: TokenRow, tokenizer: Tokenizer) -> Iterator[Markup | str]:
    """Yield a line about a row, and its tokens. Tokens that are trained have the value 1."""
    found = pieces(row, tokenizer)
    facts = [f"{len(row.ids):,} tokens"]
    if row.labels is not None:
        facts.append(f"label: {', '.join(row.labels) or 'none'}")
    if not row.is_trained.any():
        yield f"{split.where(row.id)}: {', '.join(facts)}"
        yield "".join(each.text for each in found).replace("\n", "↵")
        return
    yield f"{split.where(row.id)}: {', '.join([*facts, f'{int(row.is_trained.sum()):,} trained'])}"
    parts = [part for each in found for part in _parts(each)]
    texts, values, notes = zip(*parts, strict=True)
    yield colored_text(texts, values, notes=notes)


def _parts(piece: Piece) -> Iterator[tuple[str, float, str]]:
    """Yield a mark where a document begins, the text of a token, and its label."""
    if piece.begins_document:
        yield " ‖ ", math.nan, "a document or a target begins"
    yield piece.text, float(piece.is_trained), piece.note
    if piece.note not in ("", ANSWER, OUTSIDE):
        yield f"[{piece.note}]", math.nan, "label of the token before"
