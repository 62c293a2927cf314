"""Text of an inspection on a terminal, in color where the terminal has it, and readable without."""

import itertools
import shutil
from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gpt_lightning.evaluation.inspection.findings import Finding, counted
from gpt_lightning.evaluation.inspection.inspection import InspectedSplit, Inspection
from gpt_lightning.evaluation.inspection.runs import Piece, Run, runs
from gpt_lightning.evaluation.inspection.summary import facts, length_bins, number_bins
from gpt_lightning.evaluation.inspection.token_rows import ANSWER, OUTSIDE, TokenRow
from gpt_lightning.printable import printable
from gpt_lightning.tokenizers.tokenizer import Tokenizer

_MAX_WIDTH: Final = 120
_BAR_WIDTH: Final = 30
_MAX_LABELS: Final = 20
_MAX_PIECES: Final = 200
"""Tokens of a run that are shown."""
_STYLES: Final = {"trained": "bold green", "answer": "bold green"}


def show(inspection: Inspection, found: Sequence[Finding], tokenizer: Tokenizer) -> None:
    """Print an inspection to standard output: each split, and then all findings."""
    width = min(shutil.get_terminal_size().columns, _MAX_WIDTH)
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    for split in inspection.splits.values():
        if split.unreadable is None:
            _show_split(console, split, tokenizer)
    for finding in found:
        style = "bold red" if finding.is_problem else "yellow"
        console.print(Text(printable(finding.line), style), soft_wrap=True)
    problems = sum(each.is_problem for each in found)
    verdict = counted(problems, "problem") if problems else "no problem found"
    notes = f", {counted(len(found) - problems, 'note')}" if len(found) > problems else ""
    console.print(Text(f"{verdict}{notes}", "bold red" if problems else "bold green"))


def _show_split(console: Console, split: InspectedSplit, tokenizer: Tokenizer) -> None:
    console.print(Text(f"{split.name}: {facts(split)}", "bold"))
    tables = [_bars("tokens", length_bins(split.statistics.lengths))]
    if numbers := split.statistics.numbers:
        tables.append(_bars("label", number_bins(numbers)))
    if counts := split.statistics.label_counts:
        tables.append(_bars("label", dict(counts.most_common(_MAX_LABELS))))
        if len(counts) > _MAX_LABELS:
            tables[-1].add_row(f"and {len(counts) - _MAX_LABELS:,} more")
    for table in [*tables, *(_row(split, row, tokenizer) for row in split.rows)]:
        console.print(Padding(table, (0, 0, 1, 2), expand=False))


def _bars(name: str, counts: Mapping[str, int]) -> Table:
    """Return horizontal bars with their numbers."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    table.add_column(name, no_wrap=True, justify="right", max_width=_BAR_WIDTH)
    table.add_column("")
    table.add_column("number", justify="right")
    most = max(counts.values(), default=1)
    for key, count in counts.items():
        bar = "█" * max(int(count > 0), round(_BAR_WIDTH * count / most))
        table.add_row(Text(printable(key)), Text(bar, "cyan"), f"{count:,}")
    return table


def _row(split: InspectedSplit, row: TokenRow, tokenizer: Tokenizer) -> Table:
    """Return a row with its label and its tokens, a line for each run of context or trained tokens."""
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    label = "" if row.labels is None else f", label: {', '.join(row.labels) or 'none'}"
    table.add_row("row", Text(printable(f"{split.where(row.id)}, {len(row.ids):,} tokens{label}"), "bold"))
    for run in runs(row, tokenizer):
        table.add_row(run.kind if not run.begins_document else f"↳ {run.kind}", _tokens(run))
    return table


def _tokens(run: Run) -> Text:
    """Return the text of a run without its middle if it is long. Labels of words follow their tokens in brackets."""
    text, half = Text(), _MAX_PIECES // 2
    if len(run.pieces) <= _MAX_PIECES:
        _append(text, run.pieces, run.kind)
        return text
    _append(text, run.pieces[:half], run.kind)
    text.append(" … ", "dim")
    _append(text, run.pieces[-half:], run.kind)
    return text


def _append(text: Text, pieces: Sequence[Piece], kind: str) -> None:
    """Append tokens; neighbors of the same style are one piece of the terminal's output."""
    for style, group in itertools.groupby(pieces, lambda piece: _STYLES.get(kind, "bold" if piece.is_trained else "")):
        plain = ""
        for piece in group:
            plain += printable(piece.text).replace("\n", "↵")
            if piece.note not in ("", ANSWER, OUTSIDE):
                text.append(plain, style)
                text.append(printable(f"[{piece.note}]"), "bold magenta")
                plain = ""
        text.append(plain, style)
