"""Charts of the logged metrics of one or several runs."""

from collections.abc import Mapping, Sequence
from typing import Final

from markupsafe import Markup

from gpt_lightning.evaluation.run_report.history import History
from gpt_lightning.pages.blocks import side_by_side
from gpt_lightning.pages.charts import line_chart

_STAGES: Final = {"train": "training", "val": "validation", "test": "test"}
DIAGNOSTICS: Final = ("weights_", "val_loss_by_")
"""Starts of the groups ``DIAGNOSTIC_GROUPS`` of ``tasks/tags.py``, which is slow to import."""
_X_AXIS: Final = "x_axis/"
"""Start of the tags that count the steps in other units."""


def curves(history: History) -> Markup:
    """Return charts of all metrics of a run, training and validation of a metric in one chart."""
    charts: dict[str, dict[str, Sequence[tuple[float, float]]]] = {}
    for tag in sorted(history.scalars, key=_order):
        if not tag.startswith(_X_AXIS):
            title, name = _place(tag)
            charts.setdefault(title, {})[name] = history.scalars[tag]
    return side_by_side([_chart(title, series) for title, series in charts.items()])


def compared_curves(histories: Mapping[str, History]) -> Markup:
    """Return a chart for each metric, with a line for each run that logged it.

    Args:
        histories: name of a run -> its history.
    """
    tags = {tag for history in histories.values() for tag in history.scalars}
    shown = [tag for tag in sorted(tags, key=_order) if not tag.startswith(_X_AXIS) and not tag.startswith(DIAGNOSTICS)]
    return side_by_side(
        [
            _chart(tag, {name: each.scalars[tag] for name, each in histories.items() if tag in each.scalars})
            for tag in shown
        ]
    )


def _chart(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> Markup:
    return line_chart(series, title=title, x_label="step", y_label=title.rpartition("/")[2].replace("_", " "))


def _place(tag: str) -> tuple[str, str]:
    """Return the title of the chart that shows a metric, and the name of its line."""
    group, _, name = tag.partition("/")
    if group in _STAGES:
        return name, _STAGES[group]
    return (group, name) if tag.startswith(DIAGNOSTICS) else (tag, name)


def _order(tag: str) -> tuple[int, int, str, int]:
    """Return the key that sorts metrics: quality first, then the optimizer and diagnostics; the loss before others."""
    group, _, name = tag.partition("/")
    is_quality = group in _STAGES
    return (
        not is_quality,
        name != "loss",
        name if is_quality else tag,
        list(_STAGES).index(group) if is_quality else 0,
    )
