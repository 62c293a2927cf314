"""Comparison of several runs: final metrics, settings that differ, and curves."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from gpt_lightning.evaluation.run_report.curves import compared_curves
from gpt_lightning.evaluation.run_report.files import RunFiles, plain_texts
from gpt_lightning.evaluation.run_report.history import History
from gpt_lightning.evaluation.run_report.settings import setting_text
from gpt_lightning.pages.page import Section
from gpt_lightning.pages.tables import table

_GROUPS: Final = ("data", "versions", "hardware", "git")


def run_names(runs: Sequence[str]) -> list[str]:
    """Return a name of its own for each run: its path without the parts that all share at its start.

    Names that repeat are numbered.
    """
    parts = [Path(run).parts for run in runs]
    shared = len(list(itertools.takewhile(lambda column: len(set(column)) == 1, zip(*parts, strict=False))))
    names = ["/".join(each[min(shared, len(each) - 1) :]) or "." for each in parts]
    distinct: list[str] = []
    for number, name in enumerate(names, 1):
        distinct.append(name if names.count(name) == 1 else f"{name} ({number})")
        while distinct[-1] in distinct[:-1] or distinct[-1] in names[number:]:
            distinct[-1] += f" ({number})"
    return distinct


def comparison(runs: Mapping[str, RunFiles]) -> list[Section]:
    """Return the sections of the page that compares runs.

    Args:
        runs: name of a run -> its files.
    """
    unknown = [name for name, files in runs.items() if not files.history.scalars]
    notes = [f"Without a history: {', '.join(unknown)}."] if unknown else []
    histories = {name: files.history for name, files in runs.items()}
    found = [
        Section("Final metrics", [table(["Run", *metric_names(runs)], final_metrics(runs))]),
        Section("Settings that differ", _settings(runs)),
        Section("Circumstances that differ", _facts(runs)),
        Section("Curves", [*notes, *_curves(histories)], "Metrics by optimizer step, one line for each run."),
    ]
    return [section for section in found if section.body]


def metric_names(runs: Mapping[str, RunFiles]) -> list[str]:
    """Return the names of all final metrics, those of the test last."""
    names = dict.fromkeys(name for files in runs.values() for name in files.final_metrics())
    return sorted(names, key=lambda name: name.startswith("test/"))


def final_metrics(runs: Mapping[str, RunFiles]) -> list[list[Any]]:
    """Return a row for each run: its name, and its value of each metric, or None."""
    names = metric_names(runs)
    return [[name, *map(files.final_metrics().get, names)] for name, files in runs.items()]


def differences(settings: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Return a row for each key whose value is not the same everywhere: the key, and each value as text.

    A missing key is None.
    """
    keys = dict.fromkeys(key for each in settings for key in each)
    rows = [[key, *(setting_text(each[key]) if key in each else None for each in settings)] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1]


def _settings(runs: Mapping[str, RunFiles]) -> list[Any]:
    rows = differences([files.settings for files in runs.values()])
    return [table(["Setting", *runs], rows)] if rows else ["The runs have the same settings."] if len(runs) > 1 else []


def _facts(runs: Mapping[str, RunFiles]) -> list[Any]:
    """Return a table of data, versions, hardware and git states that differ."""
    named = [
        {f"{group}: {key}": text for group in _GROUPS for key, text in plain_texts(files.facts, group).items()}
        for files in runs.values()
    ]
    rows = differences(named)
    return [table(["Circumstance", *runs], rows)] if rows else []


def _curves(histories: Mapping[str, History]) -> list[Markup]:
    has_any = any(history.scalars for history in histories.values())
    return [compared_curves(histories)] if has_any else []
