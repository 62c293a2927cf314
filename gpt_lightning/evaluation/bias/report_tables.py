"""Tables of a bias report, which the terminal and the HTML page both show."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gpt_lightning.evaluation.bias.pair_preference import CRITICISM, TIE_NATS, PairReport, Preference
from gpt_lightning.evaluation.bias.swap_gaps import GapReport
from gpt_lightning.text_tables import text_table

_WIDTH: Final = 100


@dataclass(frozen=True)
class ReportTable:
    """Table with a title and an explanation."""

    title: str
    summary: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


_PREFERENCE_COLUMNS = ("pairs", "stereotypical more likely", "per token", "probability", "mean |difference|", "ties")


def pair_tables(report: PairReport) -> list[ReportTable]:
    """Return the tables of a report on sentence pairs."""
    summary = (
        "Share of pairs in which the stereotypical sentence is more likely, with 95 % bootstrap intervals; 0.5 is no "
        "preference. The first share compares the log-likelihoods of the sentences, the second those of an average "
        "token. Probability: that of the stereotypical sentence if the model had to choose one of the two. Differences "
        f"are in nats. Ties differ by less than {TIE_NATS} nats."
    )
    tables = [_preferences("All pairs and bias types", summary, "pairs of", {"all": report.overall, **report.by_type})]
    if report.by_direction:
        text = (
            "stereo pairs come from a sentence that states a stereotype, antistereo pairs from one that contradicts it."
        )
        tables.append(_preferences("Direction", text, "direction", report.by_direction))
    text = (
        "Longer sentences are less likely as a whole. If the share differs much between these rows, or between sum and "
        "token, then length explains a part of it."
    )
    tables.append(_preferences("Effect of length", text, "stereotypical sentence", report.by_length))
    return tables


def _preferences(title: str, summary: str, first: str, preferences: Mapping[str, Preference]) -> ReportTable:
    rows = [
        [
            name,
            each.num_pairs,
            str(each.share),
            str(each.share_per_token),
            str(each.probability),
            f"{each.likelihood_difference:.3f}",
            each.ties,
        ]
        for name, each in preferences.items()
    ]
    return ReportTable(title, summary, (first, *_PREFERENCE_COLUMNS), rows)


def gap_tables(report: GapReport) -> list[ReportTable]:
    """Return the tables of a report on swapped words."""
    first, second = report.groups
    counts = ", ".join(f"{number:,} only {name}" for name, number in report.num_of_group.items())
    both = report.num_swapped - sum(report.num_of_group.values())
    change = [["mean distance between the predictions", str(report.change)]]
    if report.changed is not None:
        change.append(["share of rows whose prediction changes", str(report.changed)])
    tables = [
        ReportTable(
            "Change by swapping words",
            f"{report.num_swapped:,} of {report.num_rows:,} rows have a word to swap: {counts}, {both:,} both. "
            "Intervals are 95 % bootstrap intervals over rows.",
            ("measure", "value"),
            change,
        )
    ]
    if sum(report.num_of_group.values()):
        tables.append(
            ReportTable(
                "Gap in score",
                f"Mean score of the {first} version and of the {second} version of each row. Rows with words of both "
                "groups are left out. With many scores, some intervals exclude zero by chance.",
                ("score", first, second, f"{first} - {second}"),
                [
                    [name, *(f"{value:.3f}" for value in report.scores[name].values()), str(gap)]
                    for name, gap in sorted(report.score_gaps.items(), key=lambda item: -abs(item[1].value))
                ],
            )
        )
    if report.error_gap is not None:
        tables.append(
            ReportTable(
                "Gap in error",
                "Mean error of both versions of each row, which have the same label. The error is 1 for a wrong label, "
                "set of labels or answer, the share of missed entities for tags, and the absolute error for numbers.",
                ("", first, second, f"{first} - {second}"),
                [["error", *map(str, report.errors.values()), str(report.error_gap)]],
            )
        )
    return tables


def notes(report: PairReport | GapReport) -> list[str]:
    """Return sentences about the limits of a report."""
    if isinstance(report, PairReport):
        return [CRITICISM]
    found = [
        "A swap changes only the words of the list, so a twin may be odd or false ('his wife is pregnant'). Gaps show "
        "what these words do to predictions. They do not show how the model treats people."
    ]
    if report.unlabeled is not None:
        found.append(f"There are no errors, because no row has a valid label. The first reason: {report.unlabeled}")
    return found


def as_text(tables: Sequence[ReportTable], notes: Sequence[str], max_rows: int = 12) -> str:
    """Return tables as aligned text, with the first ``max_rows`` rows of each, and notes below them."""
    return "\n\n".join([*(_text_of(table, max_rows) for table in tables), *map(_wrap, notes)])


def _text_of(table: ReportTable, max_rows: int) -> str:
    lines = text_table([list(map(str, row)) for row in (table.columns, *table.rows[:max_rows])])
    rest = len(table.rows) - max_rows
    more = [f"... and {rest:,} more, which --output has"] if rest > 0 else []
    return "\n".join([table.title, _wrap(table.summary), "", lines[0], "-" * max(map(len, lines)), *lines[1:], *more])


def _wrap(text: str) -> str:
    return textwrap.fill(text, _WIDTH)
