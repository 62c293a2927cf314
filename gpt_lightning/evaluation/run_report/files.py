"""Reading of the files in a run's folder that its report is built from.

A stranger may have written them, so that every value is checked before it is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gpt_lightning.bounded_files import read_json_object
from gpt_lightning.checkpoints.metrics import read_metrics
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.run_report import history
from gpt_lightning.evaluation.run_report.settings import read_settings, without_secrets

FACTS: Final = "report.json"
"""Results and circumstances of the training run, which ``fit`` writes."""
PAGE: Final = "report.html"
_REMEDY: Final = "Train or test the run again"
_MAX_BYTES: Final = 2**26


@dataclass(frozen=True)
class RunFiles:
    """Content of a run's folder."""

    facts: Mapping[str, Any]
    """Content of ``report.json``; empty without one."""
    history: history.History
    settings: Mapping[str, Any]
    """Settings of ``config.yaml`` by key, without secrets; empty without one."""
    test: Mapping[str, Any]
    """Content of ``metrics.json``; empty without one."""

    @classmethod
    def read(cls, run: Path) -> "RunFiles":
        """Read the files of a run. Missing and damaged ones are empty."""
        try:
            facts = read_json_object(run / FACTS, _REMEDY, _MAX_BYTES)
        except InputError:
            facts = {}
        try:
            test = read_metrics(run / "metrics.json", _REMEDY)
        except InputError:
            test = {}
        return cls(facts, history.read(run), without_secrets(read_settings(run)), test)

    def final_metrics(self) -> dict[str, float]:
        """Return the last value of each metric of training and validation, and the test metrics."""
        scalars = self.history.final_scalars()
        final = {tag: value for tag, value in scalars.items() if tag.partition("/")[0] in ("train", "val")}
        tested = {f"test/{name}": value for name, value in self.test.get("metrics", {}).items()}
        return final | {tag: float("nan") if value is None else float(value) for tag, value in tested.items()}


def plain_texts(content: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return the texts and numbers of a mapping in ``content`` as texts; empty if it is missing or of another type."""
    found = content.get(name)
    if not isinstance(found, dict):
        return {}
    return {key: str(value) for key, value in found.items() if isinstance(value, str | int | float)}


def texts(content: Mapping[str, Any], name: str) -> list[str]:
    """Return the texts of a list in ``content``; empty if it is missing or of another type."""
    found = content.get(name)
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def matrix(content: Mapping[str, Any], name: str) -> list[list[float]]:
    """Return a rectangular list of lists of numbers in ``content``; empty if it is missing or of another type."""
    rows = content.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows):
        return []
    numbers = [[float("nan") if value is None else value for value in row] for row in rows]
    is_numeric = all(type(value) in (int, float) for row in numbers for value in row)
    return numbers if is_numeric else []
