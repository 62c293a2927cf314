"""Sections of the HTML page of a bias report."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from gpt_lightning.data.word_swaps.swaps import Swaps
from gpt_lightning.evaluation.bias.estimate import Estimate
from gpt_lightning.evaluation.bias.pair_preference import PairReport, ScoredPair
from gpt_lightning.evaluation.bias.report_tables import ReportTable, gap_tables, notes, pair_tables
from gpt_lightning.evaluation.bias.swap_gaps import GapReport
from gpt_lightning.pages.charts import bar_chart, histogram
from gpt_lightning.pages.page import Section
from gpt_lightning.pages.tables import table
from gpt_lightning.pages.text import escape_forbidden

_NUM_PAIRS: Final = 15
"""Pairs in a table of examples."""
_NUM_MARKED: Final = 10
"""Words that are marked in a text."""
_CONTEXT: Final = 80
"""Characters of a long text that are shown before and after each marked word."""


def pair_sections(report: PairReport) -> list[Section]:
    """Return the sections of a page on sentence pairs."""
    first, *rest = pair_tables(report)
    shares = {"all": report.overall.share, **{name: each.share for name, each in report.by_type.items()}}
    ordered = sorted(report.pairs, key=lambda each: -each.difference)
    preferred = [each for each in ordered if each.difference > 0][:_NUM_PAIRS]
    others = [each for each in reversed(ordered) if each.difference < 0][:_NUM_PAIRS]
    differences = [each.difference for each in report.pairs]
    return [
        Section("Limits", notes(report)),
        _section(first, _bars("Share of pairs with a more likely stereotypical sentence", shares)),
        *map(_section, rest),
        Section(
            "Differences",
            [histogram(differences, title="Log-likelihood, stereotypical minus other sentence", x_label="nats")],
        ),
        _examples("Strongest preferences for the stereotypical sentence", preferred),
        _examples("Strongest preferences for the other sentence", others),
    ]


def gap_sections(report: GapReport, swaps: Swaps) -> list[Section]:
    """Return the sections of a page on swapped words."""
    first, *rest = gap_tables(report)
    gaps = dict(sorted(report.score_gaps.items(), key=lambda item: -abs(item[1].value))[:20])
    chart = _bars(f"Score, {report.groups[0]} minus {report.groups[1]}", gaps)
    changes = [
        [
            each.id,
            _mark_swaps(each.texts[0], swaps),
            _mark_swaps(each.texts[1], swaps),
            f"{each.answers[0]} → {each.answers[1]}",
            each.change,
        ]
        for each in report.rows
    ]
    columns = ("id", "row", "with swapped words", "prediction", "change")
    return [
        Section("Limits", notes(report)),
        _section(first),
        *(_section(each, *([chart] if each.title == "Gap in score" else [])) for each in rest),
        Section("Rows that change most", [table(columns, changes)], "The words that were swapped are marked."),
    ]


def _section(content: ReportTable, *charts: Markup) -> Section:
    return Section(content.title, [table(content.columns, content.rows), *charts], content.summary)


def _bars(title: str, estimates: dict[str, Estimate]) -> Markup:
    return bar_chart(
        {name: round(each.value, 3) for name, each in estimates.items()},
        title=title,
        x_label="mean with 95 % interval",
        intervals={name: (round(each.low, 3), round(each.high, 3)) for name, each in estimates.items()},
    )


def _examples(title: str, pairs: Sequence[ScoredPair]) -> Section:
    columns = ("id", "type", "stereotypical sentence", "other sentence", "difference in nats", "per token")
    rows = [
        [
            each.pair.id,
            each.pair.bias_type,
            each.pair.more,
            each.pair.less,
            each.difference,
            each.difference_per_token,
        ]
        for each in pairs
    ]
    return Section(title, [table(columns, rows)], "Read them: not every pair is a valid test.")


def _mark_swaps(text: str, swaps: Swaps) -> Markup:
    """Return a text with its words of the list marked; text far from all of them is left out."""
    parts, done = list[Markup | str](), 0
    replacements = swaps(text).replacements
    for each in replacements[:_NUM_MARKED]:
        between = _shorten(text[done : each.start], is_start=not done)
        parts += [between, Markup("<mark>{}</mark>").format(text[each.start : each.end])]
        done = each.end
    return Markup("").join([*parts, _shorten(text[done:], is_end=True)])


def _shorten(text: str, *, is_start: bool = False, is_end: bool = False) -> str:
    """Return a text without its middle if it is long; the start or end of a row without the part that is far away."""
    head, tail = "" if is_start else text[:_CONTEXT], "" if is_end else text[-_CONTEXT:]
    return escape_forbidden(text if len(text) <= 2 * _CONTEXT else f"{head} … {tail}")
